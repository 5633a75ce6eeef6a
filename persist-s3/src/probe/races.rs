//! What writers that race must see: one of them won.

use super::{
    ground::{Ground, Trouble, Written},
    steps,
};
use bytes::Bytes;
use futures::future::join_all;
use object_store::path::Path;
use persist_core::ErrorKind;

/// How many writers race: each has a connection of its own, since HTTP/1.1 has one request on each.
pub(super) const WRITERS: usize = 16;

/// One of the writers that create the same object wins.
pub(super) async fn create(ground: &Ground<'_>) -> Result<(), Trouble> {
    let key = ground.key();
    let bodies = bodies(ground);
    let ends = join_all(bodies.iter().map(|body| ground.create(&key, body))).await;
    judge(ground, &key, &bodies, ends, "create").await
}

/// One of the writers that replace the same version wins.
pub(super) async fn replace(ground: &Ground<'_>) -> Result<(), Trouble> {
    let key = ground.key();
    let etag = steps::created(ground, &key).await?;
    let bodies = bodies(ground);
    let ends = join_all(bodies.iter().map(|body| ground.replace(&key, body, &etag))).await;
    judge(ground, &key, &bodies, ends, "replace").await
}

fn bodies(ground: &Ground<'_>) -> Vec<Bytes> {
    std::iter::repeat_with(|| ground.body()).take(WRITERS).collect()
}

/// Two winners are proof against a store. A failed answer is none, neither for nor against: Ceph RGW 16 says
/// 500 to some of the losers. Then what is there decides, since each writer has bytes of its own.
async fn judge(
    ground: &Ground<'_>,
    key: &Path,
    bodies: &[Bytes],
    ends: Vec<Result<Written, Trouble>>,
    what: &str,
) -> Result<(), Trouble> {
    let (mut winners, mut unclear, mut trouble) = (Vec::new(), Vec::new(), None);
    for (body, end) in bodies.iter().zip(ends) {
        match end {
            Ok(Written::Won(_)) => winners.push(body),
            Ok(Written::Refused) => {}
            Err(Trouble::Failed(error)) if error.kind() == ErrorKind::Unavailable => {
                unclear.push(body);
                trouble = Some(Trouble::Failed(error));
            }
            Err(other) => return Err(other),
        }
    }
    let seen = |outcome: &str| format!("{WRITERS} writers raced to {what} one object, and {outcome}");
    if let [_, _, ..] = winners.as_slice() {
        return Err(Trouble::Unfit(seen(&format!("{} were told that they had", winners.len()))));
    }
    let there = ground.read(key).await?;
    match (winners.pop(), trouble) {
        (Some(winner), _) if there.as_ref() == Some(winner) => Ok(()),
        (Some(_), _) => Err(Trouble::Unfit(seen("it is not what the winner wrote"))),
        (None, Some(_)) if there.as_ref().is_some_and(|body| unclear.contains(&body)) => Ok(()),
        (None, Some(trouble)) => Err(trouble),
        (None, None) => Err(Trouble::Doubtful(seen("all were refused"))),
    }
}
