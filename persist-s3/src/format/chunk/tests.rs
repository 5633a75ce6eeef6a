use super::*;
use persist_core::clock::Entropy;
use persist_core::testing::SeededEntropy;
use proptest::prelude::*;

fn chunker(secret: u8) -> Chunker {
    Chunker::new(&ChunkSecret::new([secret; 32]))
}

fn data(bytes: usize) -> Vec<u8> {
    let mut data = vec![0; bytes];
    SeededEntropy::new(7).fill(&mut data);
    data
}

fn lengths(chunker: &Chunker, id: ChunkerId, reader: impl Read) -> Vec<usize> {
    let mut buffer = ChunkBuffer::default();
    let mut chunks = chunker.chunks(id, reader, &mut buffer);
    let mut lengths = Vec::new();
    while let Some(chunk) = chunks.next_chunk().unwrap() {
        lengths.push(chunk.len());
    }
    lengths
}

/// Gives what it is asked for in small, uneven pieces.
struct Drips<'a>(&'a [u8], usize);

impl Read for Drips<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.1 = self.1 * 7 % 65_521 + 1;
        let count = self.1.min(into.len()).min(self.0.len());
        into[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

#[test]
fn the_boundaries_of_version_1_never_move() {
    let golden = lengths(&chunker(1), ChunkerId::FastCdc, &data(12 << 20)[..]);
    assert_eq!(golden, GOLDEN);
    assert_ne!(lengths(&chunker(2), ChunkerId::FastCdc, &data(12 << 20)[..]), GOLDEN);
}

/// Read off the first version. A change here makes every large file of every volume new once.
const GOLDEN: [usize; 12] = [
    1_214_437, 1_339_423, 336_999, 1_154_825, 557_108, 1_543_135, 1_380_867, 1_237_372, 1_105_484, 623_932,
    1_305_385, 783_945,
];

#[test]
fn an_insertion_moves_the_boundaries_near_it_only() {
    let plain = data(16 << 20);
    let mut longer = plain.clone();
    longer.insert(1_000_000, 0x5a);
    let ends = |data: &[u8]| {
        let mut left = data.len();
        let mut ends = vec![left];
        for length in lengths(&chunker(1), ChunkerId::FastCdc, data) {
            left -= length;
            ends.push(left);
        }
        ends
    };
    let (before, after) = (ends(&plain), ends(&longer));
    let kept = before.iter().filter(|end| after.contains(end)).count();
    assert!(kept * 2 > before.len(), "{kept} of {}", before.len());
}

#[test]
fn data_without_any_boundary_is_cut_at_the_largest_size() {
    let lengths = lengths(&chunker(1), ChunkerId::FastCdc, io::repeat(0).take(9 << 20));
    assert_eq!(lengths, [CHUNK_MAX_BYTES, CHUNK_MAX_BYTES, 1 << 20]);
}

#[test]
fn memory_is_bounded_whatever_the_size_of_the_file() {
    let (chunker, mut buffer) = (chunker(1), ChunkBuffer::default());
    let mut chunks = chunker.chunks(ChunkerId::Blocks128K, io::repeat(1).take(100 << 20), &mut buffer);
    let mut total = 0;
    while let Some(chunk) = chunks.next_chunk().unwrap() {
        total += chunk.len();
    }
    assert_eq!(total, 100 << 20);
    assert_eq!(buffer.0.len(), 2 * BLOCK_BYTES);
}

#[test]
fn a_file_is_cut_by_its_size_and_by_how_it_is_written() {
    let choose = |bytes, written| ChunkerId::choose(bytes, &written);
    let in_place = || Written::InPlace(Vec::new());
    assert_eq!(choose(0, Written::Anew), ChunkerId::Whole);
    assert_eq!(choose(1 << 20, in_place()), ChunkerId::Whole);
    assert_eq!(choose((1 << 20) + 1, Written::Anew), ChunkerId::FastCdc);
    assert_eq!(choose((1 << 20) + 1, in_place()), ChunkerId::Blocks128K);
    for id in [ChunkerId::Whole, ChunkerId::FastCdc, ChunkerId::Blocks128K] {
        assert_eq!(ChunkerId::of_code(id.code()), Some(id));
    }
    assert_eq!(ChunkerId::of_code(3), None);
}

fn in_blocks(ranges: &[(u64, u64)]) -> Vec<usize> {
    let ranges: Vec<_> = ranges.iter().map(|&(offset, length)| DataRange { offset, length }).collect();
    let bytes = ranges.iter().map(|range| range.length).sum();
    let (chunker, mut buffer) = (chunker(1), ChunkBuffer::default());
    let mut chunks = chunker.chunks(ChunkerId::Blocks128K, io::repeat(1).take(bytes), &mut buffer).at(ranges);
    std::iter::from_fn(|| chunks.next_chunk().unwrap().map(<[u8]>::len)).collect()
}

#[test]
fn a_hole_that_is_filled_changes_only_its_block() {
    const BLOCK: u64 = BLOCK_BYTES as u64;
    let whole = BLOCK_BYTES;
    assert_eq!(in_blocks(&[(0, BLOCK * 3 + 5)]), [whole, whole, whole, 5]);
    // A hole of a page in the second block, and a block that is all hole.
    let sparse = [(0, BLOCK + 4096), (BLOCK + 8192, BLOCK - 8192), (BLOCK * 3, 10)];
    assert_eq!(in_blocks(&sparse), [whole, whole - 4096, 10]);
    let filled = [(0, BLOCK * 2), (BLOCK * 3, 10)];
    assert_eq!(in_blocks(&filled), [whole, whole, 10]);
    assert_eq!(in_blocks(&[(BLOCK - 1, 2), (BLOCK * 9 + 7, 1), (BLOCK * 9 + 9, 1)]), [1, 1, 2]);
    assert_eq!(in_blocks(&[(5, 0), (7, 3), (BLOCK, 0)]), [3]);
}

#[test]
fn an_empty_file_has_no_chunk_and_a_failed_read_is_told() {
    assert!(lengths(&chunker(1), ChunkerId::Whole, io::empty()).is_empty());
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(5))
        }
    }
    let (chunker, mut buffer) = (chunker(1), ChunkBuffer::default());
    assert!(chunker.chunks(ChunkerId::Whole, Broken, &mut buffer).next_chunk().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn how_the_reader_gives_the_data_decides_nothing(bytes in 1usize..6_000_000, drip in 1usize..60_000) {
        let data = data(bytes);
        for id in [ChunkerId::Whole, ChunkerId::FastCdc, ChunkerId::Blocks128K] {
            let whole = lengths(&chunker(1), id, &data[..]);
            prop_assert_eq!(&whole, &lengths(&chunker(1), id, Drips(&data, drip)));
            prop_assert_eq!(whole.iter().sum::<usize>(), bytes);
            prop_assert!(whole.iter().all(|length| *length <= id.longest()));
        }
    }
}
