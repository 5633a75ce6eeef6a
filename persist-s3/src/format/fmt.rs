//! The `fmt` object of a volume: what a reader must understand, and the keys.

mod keyring;
mod stored;

pub use keyring::Keyring;

use super::crypt::{Binding, CallerKey, ChunkSecret, KEY_BYTES, KeyNumber, Part};
use keyring::Master;
use persist_core::{Epoch, Error, ErrorKind, Result, VolumeId, clock::Entropy};
use std::collections::BTreeSet;
use stored::{Hex, Stored, StoredKey, StoredSecret};
use zeroize::Zeroizing;

/// The largest `fmt` object: a key takes 250 bytes, and a volume has one for each volume it was forked from.
pub const FMT_MAX_BYTES: usize = 64 << 10;

/// The format of the whole volume that this version reads and writes.
pub const FORMAT: u16 = 1;

/// The mandatory feature of a volume whose parts are sealed.
pub const ENCRYPTION: &str = "encryption-1";

/// The mandatory features that this version understands.
const KNOWN: [&str; 1] = [ENCRYPTION];

/// Of what a new volume's `fmt` is made.
#[derive(Debug)]
pub struct NewFormat<'a> {
    /// The volume.
    pub volume: &'a VolumeId,
    /// The keys of the volume that it is forked from: its chunks and packs stay readable and shared.
    pub origin: Option<&'a Keyring>,
    /// What wraps the keys; without it nothing is sealed.
    pub caller: Option<&'a CallerKey>,
}

/// Makes the `fmt` object of a new volume, and the keys that it holds.
///
/// # Errors
/// `Invalid` for a fork without a key of a volume that has one: it would write the origin's keys in clear.
pub fn create(new: &NewFormat<'_>, entropy: &dyn Entropy) -> Result<(Vec<u8>, Keyring)> {
    let mut keyring = match new.origin {
        Some(origin) => origin.forked(new.volume),
        None => Keyring::new(new.volume, ChunkSecret::new(*fresh(entropy))),
    };
    if new.caller.is_some() {
        keyring.add(Master::new(new.volume, KeyNumber::FIRST, fresh(entropy)));
    } else if !keyring.masters().is_empty() {
        return Err(Error::invalid("key", "a fork of an encrypted volume needs a key of its own"));
    }
    Ok((encode(&keyring, new.caller)?, keyring))
}

/// Reads the `fmt` object of `volume` and unwraps its keys with the caller's.
///
/// # Errors
/// `Denied` for a missing or another key; `Invalid` for a key that nothing needs; `Unsupported` names the
/// features that this version does not know; `Corrupt` for anything else that is not what was written.
pub fn open(bytes: &[u8], volume: &VolumeId, caller: Option<&CallerKey>) -> Result<Keyring> {
    let stored = Stored::decode(bytes).map_err(|e| e.context("volume", volume))?;
    if stored.volume != *volume {
        return Err(corrupt("the fmt object is another volume's")
            .context("volume", volume)
            .context("found", &stored.volume));
    }
    match (&stored.secret, caller) {
        (StoredSecret::Clear(_), Some(_)) => {
            Err(Error::invalid("key", "a key was given, and the volume is not encrypted")
                .context("volume", volume))
        }
        (StoredSecret::Clear(secret), None) => Ok(Keyring::new(volume, ChunkSecret::new(secret.key()?))),
        (StoredSecret::Wrapped(_), None) => {
            Err(Error::new(ErrorKind::Denied, "the volume is encrypted, and no key was given")
                .context("volume", volume)
                .advise("give the key that the volume was created with"))
        }
        (StoredSecret::Wrapped(secret), Some(caller)) => unwrap(&stored, secret, caller),
    }
}

fn encode(keyring: &Keyring, caller: Option<&CallerKey>) -> Result<Vec<u8>> {
    let volume = keyring.volume();
    let mut stored = Stored {
        format: FORMAT,
        volume: volume.clone(),
        mandatory: BTreeSet::new(),
        optional: BTreeSet::new(),
        secret: StoredSecret::Clear(Hex::of(keyring.secret().expose())),
        check: None,
        keys: Vec::new(),
    };
    if let Some(caller) = caller {
        stored.mandatory.insert(ENCRYPTION.to_owned());
        stored.check = Some(Hex::of(&caller.check(volume)));
        stored.secret = StoredSecret::Wrapped(wrap(caller, keyring.secret().expose(), &secret_slot(volume))?);
        for (slot, master) in keyring.masters().iter().enumerate() {
            let binding = key_slot(&master.volume, master.number, slot)?;
            let wrapped = Some(wrap(caller, master.expose(), &binding)?);
            stored.keys.push(StoredKey { volume: master.volume.clone(), number: master.number.0, wrapped });
        }
    }
    stored.encode()
}

fn unwrap(stored: &Stored, secret: &Hex, caller: &CallerKey) -> Result<Keyring> {
    let volume = &stored.volume;
    if stored.check.as_ref().is_none_or(|check| check.0[..] != caller.check(volume)) {
        return Err(Error::new(ErrorKind::Denied, "this key is not the volume's")
            .context("volume", volume)
            .advise("give the key that the volume was created with"));
    }
    let secret = unwrapped(caller, secret, &secret_slot(volume))?;
    let mut keyring = Keyring::new(volume, ChunkSecret::new(*secret));
    for (slot, key) in stored.keys.iter().enumerate() {
        let number = KeyNumber(key.number);
        // A key without its wrapped bytes was destroyed, and what it sealed with it.
        let Some(wrapped) = &key.wrapped else { continue };
        let bytes = unwrapped(caller, wrapped, &key_slot(&key.volume, number, slot)?)?;
        keyring.add(Master::new(&key.volume, number, bytes));
    }
    Ok(keyring)
}

fn wrap(caller: &CallerKey, key: &[u8; KEY_BYTES], binding: &Binding<'_>) -> Result<Hex> {
    let mut wrapped = Vec::new();
    caller.wrapping().seal(key, binding, &mut wrapped)?;
    Ok(Hex(wrapped))
}

fn unwrapped(caller: &CallerKey, wrapped: &Hex, binding: &Binding<'_>) -> Result<Zeroizing<[u8; KEY_BYTES]>> {
    let bytes = Zeroizing::new(caller.wrapping().open(&wrapped.0, binding)?);
    let key = bytes.first_chunk().filter(|_| bytes.len() == KEY_BYTES);
    Ok(Zeroizing::new(*key.ok_or_else(|| corrupt("a wrapped key has another length"))?))
}

fn secret_slot(volume: &VolumeId) -> Binding<'_> {
    Binding { volume, epoch: Epoch::ZERO, number: 0, part: Part::Key, offset: 0 }
}

fn key_slot(volume: &VolumeId, number: KeyNumber, slot: usize) -> Result<Binding<'_>> {
    let offset = super::frame::length(slot + 1)?;
    Ok(Binding { volume, epoch: Epoch::ZERO, number: number.0.into(), part: Part::Key, offset })
}

fn fresh(entropy: &dyn Entropy) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    entropy.fill(&mut *bytes);
    bytes
}

fn corrupt(what: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, what)
        .advise("keep the object; restore the volume from a snapshot that is whole")
}

#[cfg(test)]
mod tests;
