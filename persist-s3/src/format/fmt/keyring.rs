//! The opened keys of a volume.

use crate::format::crypt::{ChunkSecret, KEY_BYTES, KeyNumber, SealKey, Sealing};
use persist_core::{Error, ErrorKind, Result, VolumeId};
use std::fmt;
use zeroize::Zeroizing;

/// Every key that a volume reads and writes with; cheap enough to clone into every task.
#[derive(Clone)]
pub struct Keyring {
    volume: VolumeId,
    secret: ChunkSecret,
    masters: Vec<Master>,
}

/// One master key, and what is derived from it.
#[derive(Clone)]
pub(super) struct Master {
    pub(super) volume: VolumeId,
    pub(super) number: KeyNumber,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    seal: SealKey,
}

impl Keyring {
    /// The keys of a volume that has no master key.
    pub(super) fn new(volume: &VolumeId, secret: ChunkSecret) -> Self {
        Self { volume: volume.clone(), secret, masters: Vec::new() }
    }

    /// The volume.
    pub fn volume(&self) -> &VolumeId {
        &self.volume
    }

    /// The secret of the lineage.
    pub fn secret(&self) -> &ChunkSecret {
        &self.secret
    }

    /// How the volume seals what it writes: by its newest key.
    pub fn writing(&self) -> Sealing {
        self.own().max_by_key(|master| master.number).map_or(Sealing::Clear, Master::sealing)
    }

    /// How what `volume` wrote under its key `number` is opened.
    ///
    /// # Errors
    /// `Denied` if the key is not among the volume's; `Corrupt` for something unsealed in a volume that
    /// seals: somebody without the key put it there.
    pub fn sealing(&self, volume: &VolumeId, number: KeyNumber) -> Result<Sealing> {
        let mut known = self.masters.iter().filter(|master| master.volume == *volume);
        if number != KeyNumber::CLEAR {
            return known.find(|master| master.number == number).map(Master::sealing).ok_or_else(|| {
                Error::new(ErrorKind::Denied, "the key of a part is not among the volume's keys")
                    .context("volume", volume)
                    .context("key", number.0)
                    .advise("its key was destroyed, or the volume's fmt object is an older one")
            });
        }
        match known.next() {
            None => Ok(Sealing::Clear),
            Some(_) => Err(Error::new(ErrorKind::Corrupt, "an unsealed part in an encrypted volume")
                .context("volume", volume)
                .advise("find out who writes to the bucket beside persist")),
        }
    }

    /// The keys of a fork: the origin's, for what it shares with it.
    pub(super) fn forked(&self, volume: &VolumeId) -> Self {
        Self { volume: volume.clone(), ..self.clone() }
    }

    pub(super) fn add(&mut self, master: Master) {
        self.masters.push(master);
    }

    pub(super) fn masters(&self) -> &[Master] {
        &self.masters
    }

    fn own(&self) -> impl Iterator<Item = &Master> {
        self.masters.iter().filter(|master| master.volume == self.volume)
    }
}

impl Master {
    pub(super) fn new(volume: &VolumeId, number: KeyNumber, bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let seal = SealKey::new(&bytes);
        Self { volume: volume.clone(), number, bytes, seal }
    }

    pub(super) fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }

    fn sealing(&self) -> Sealing {
        Sealing::Key(self.number, self.seal.clone())
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("volume", &self.volume).finish_non_exhaustive()
    }
}
