//! The numbers, paths and locations inside a page: short where neighbours resemble each other.

use crate::format::location::{ChunkId, Location, PackIndex};
use persist_core::{Error, ErrorKind, Result, tree::TreePath};

/// The longest path of an entry, in bytes: eight times `PATH_MAX` (limits.h). The engine writes deeper
/// trees than the kernel takes in one call, but a page must hold a few paths.
pub const TREE_PATH_MAX_BYTES: usize = 32 << 10;

/// Bytes of a number at most: 64 bits in groups of seven.
const NUMBER_MAX_BYTES: usize = 10;

/// Appends `value` in groups of seven bits, the lowest first; the high bit says that another follows.
pub(super) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// Appends the difference between two numbers, small for neighbours on either side.
pub(super) fn put_difference(out: &mut Vec<u8>, from: i64, to: i64) {
    let difference = to.wrapping_sub(from);
    put_number(out, (difference.cast_unsigned() << 1) ^ (difference >> 63).cast_unsigned());
}

/// Appends a length and as many bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, wide(bytes.len()));
    out.extend_from_slice(bytes);
}

/// Appends `path` as what differs from the `previous` one.
pub(super) fn put_path(out: &mut Vec<u8>, previous: &[u8], path: &[u8]) {
    let shared = previous.iter().zip(path).take_while(|(a, b)| a == b).count();
    put_number(out, wide(shared));
    put_bytes(out, &path[shared..]);
}

/// A length as it is written.
pub(super) fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Reads a page from its front; every step is checked, and none takes memory for what is not there.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.rest.split_first().ok_or_else(|| corrupt("it ends within an entry"))?;
        self.rest = rest;
        Ok(*first)
    }

    /// A number; a longer way of writing it than the shortest is refused, so that equal trees have equal bytes.
    pub(super) fn number(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for n in 0..NUMBER_MAX_BYTES {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * n;
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let shortest = byte != 0 || n == 0;
                return if shortest { Ok(value) } else { Err(corrupt("a number is longer than it must be")) };
            }
        }
        Err(corrupt("a number is larger than 64 bits"))
    }

    pub(super) fn number_u32(&mut self) -> Result<u32> {
        u32::try_from(self.number()?).map_err(|_| corrupt("a number is larger than 32 bits"))
    }

    pub(super) fn difference(&mut self, from: i64) -> Result<i64> {
        let folded = self.number()?;
        let difference = (folded >> 1).cast_signed() ^ -(folded & 1).cast_signed();
        Ok(from.wrapping_add(difference))
    }

    /// How many things follow that take at least `each` bytes.
    pub(super) fn count(&mut self, each: usize) -> Result<usize> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if count.saturating_mul(each) > self.left() {
            return Err(corrupt("it says that it holds more than fits in it"));
        }
        Ok(count)
    }

    pub(super) fn exactly(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| corrupt("it ends within an entry"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.count(1)?;
        self.exactly(length)
    }

    pub(super) fn id(&mut self) -> Result<ChunkId> {
        let mut id = [0; 32];
        id.copy_from_slice(self.exactly(32)?);
        Ok(ChunkId(id))
    }

    pub(super) fn path(&mut self, previous: &[u8]) -> Result<TreePath> {
        let shared = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        let suffix = self.bytes()?;
        let shared = previous.get(..shared).ok_or_else(|| corrupt("a path shares more than there is"))?;
        if shared.len() + suffix.len() > TREE_PATH_MAX_BYTES {
            return Err(corrupt("a path is longer than any path"));
        }
        path([shared, suffix].concat())
    }

    pub(super) fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(corrupt("bytes follow its last entry")) }
    }
}

/// A path that was read.
pub(super) fn path(bytes: Vec<u8>) -> Result<TreePath> {
    TreePath::new(bytes).map_err(|e| corrupt("a path is none").with_source(e))
}

/// Writes and reads locations as what differs from the one before.
#[derive(Debug, Default, Clone)]
pub(super) struct Neighbour {
    last: Option<Location>,
}

/// The next bytes of the same frame.
const FOLLOWS: u64 = 0;
/// Elsewhere in the same frame.
const SAME_FRAME: u64 = 1;
/// The beginning of the next frame in the same pack.
const NEXT_FRAME: u64 = 2;
/// Everything is said.
const ANYWHERE: u64 = 3;

impl Neighbour {
    /// Appends `at`, but not how long it is if the reader knows that from elsewhere.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, at: Location, length: Length) {
        let last = self.last.replace(at).unwrap_or(ORIGIN);
        if same_frame(last, at) {
            if last.offset.checked_add(last.bytes) == Some(at.offset) {
                put_number(out, FOLLOWS);
            } else {
                put_number(out, SAME_FRAME);
                put_number(out, at.offset.into());
            }
        } else if last.pack == at.pack && next_frame(last) == Some(at.frame_offset) && at.offset == 0 {
            put_number(out, NEXT_FRAME);
            put_number(out, at.frame_bytes.into());
        } else {
            put_number(out, ANYWHERE);
            put_difference(out, last.pack.0.into(), at.pack.0.into());
            put_number(out, at.frame_offset.into());
            put_number(out, at.frame_bytes.into());
            put_number(out, at.offset.into());
        }
        if length == Length::Written {
            put_number(out, at.bytes.into());
        }
    }

    /// Reads a location; `known` is its length if that is not written.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>, known: Option<u32>) -> Result<Location> {
        let outside = || corrupt("a location lies outside of any pack");
        let last = self.last.unwrap_or(ORIGIN);
        let mut at = match reader.number()? {
            FOLLOWS => Location { offset: last.offset.checked_add(last.bytes).ok_or_else(outside)?, ..last },
            SAME_FRAME => Location { offset: reader.number_u32()?, ..last },
            NEXT_FRAME => Location {
                frame_offset: next_frame(last).ok_or_else(outside)?,
                frame_bytes: reader.number_u32()?,
                offset: 0,
                ..last
            },
            ANYWHERE => Location {
                pack: PackIndex(
                    u32::try_from(reader.difference(last.pack.0.into())?).map_err(|_| outside())?,
                ),
                frame_offset: reader.number_u32()?,
                frame_bytes: reader.number_u32()?,
                offset: reader.number_u32()?,
                bytes: 0,
            },
            _ => return Err(corrupt("a location is of no known form")),
        };
        at.bytes = match known {
            Some(bytes) => bytes,
            None => reader.number_u32()?,
        };
        self.last = Some(at);
        Ok(at)
    }
}

/// Whether a location says how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Written,
    Known,
}

/// What the first location of a page is compared with.
const ORIGIN: Location =
    Location { pack: PackIndex(0), frame_offset: 0, frame_bytes: 0, offset: 0, bytes: 0 };

fn same_frame(a: Location, b: Location) -> bool {
    (a.pack, a.frame_offset, a.frame_bytes) == (b.pack, b.frame_offset, b.frame_bytes)
}

fn next_frame(at: Location) -> Option<u32> {
    at.frame_offset.checked_add(at.frame_bytes)
}

/// A page that is not what any writer writes. Whoever reads it adds which one.
pub(super) fn corrupt(why: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, why).advise("stop and keep the evidence: verify the volume")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_has_one_way_to_be_written() {
        for bad in [&[0x80, 0][..], &[0xff; 10], &[0x80], &[]] {
            assert_eq!(Reader::new(bad).number().unwrap_err().kind(), ErrorKind::Corrupt, "{bad:?}");
        }
        let mut largest = Vec::new();
        put_number(&mut largest, u64::MAX);
        assert_eq!((largest.len(), Reader::new(&largest).number().unwrap()), (10, u64::MAX));
    }

    #[test]
    fn neighbours_in_a_frame_cost_a_byte() {
        let first =
            Location { pack: PackIndex(9), frame_offset: 70_000, frame_bytes: 9_000, offset: 0, bytes: 5 };
        let (mut out, mut coder) = (Vec::new(), Neighbour::default());
        coder.put(&mut out, first, Length::Known);
        let far = out.len();
        coder.put(&mut out, Location { offset: 5, bytes: 7, ..first }, Length::Known);
        assert_eq!(out.len() - far, 1);
        coder.put(&mut out, Location { frame_offset: 79_000, ..first }, Length::Known);
        assert_eq!(out.len() - far, 4);
    }

    fn location() -> impl Strategy<Value = Location> {
        let few = || prop_oneof![0..3_u32, any::<u32>()];
        (few(), few(), few(), few(), few()).prop_map(|(pack, frame_offset, frame_bytes, offset, bytes)| {
            Location { pack: PackIndex(pack), frame_offset, frame_bytes, offset, bytes }
        })
    }

    proptest! {
        #[test]
        fn numbers_and_differences_read_back(value: u64, from: i64, to: i64) {
            let mut out = Vec::new();
            put_number(&mut out, value);
            put_difference(&mut out, from, to);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.number().unwrap(), value);
            prop_assert_eq!(reader.difference(from).unwrap(), to);
            prop_assert_eq!(reader.left(), 0);
        }

        #[test]
        fn locations_read_back(locations in prop::collection::vec(location(), 0..20)) {
            let (mut out, mut coder) = (Vec::new(), Neighbour::default());
            locations.iter().for_each(|at| coder.put(&mut out, *at, Length::Written));
            let (mut reader, mut coder) = (Reader::new(&out), Neighbour::default());
            for at in locations {
                prop_assert_eq!(coder.read(&mut reader, None).unwrap(), at);
            }
        }
    }
}
