//! What writers that race must see: one of them won.

use super::{
    ground::{Ground, Trouble, Written},
    steps,
};
use bytes::Bytes;
use futures::future::join_all;
use object_store::path::Path;

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

async fn judge(
    ground: &Ground<'_>,
    key: &Path,
    bodies: &[Bytes],
    ends: Vec<Result<Written, Trouble>>,
    what: &str,
) -> Result<(), Trouble> {
    let (mut winners, mut troubles) = (Vec::new(), Vec::new());
    for (body, end) in bodies.iter().zip(ends) {
        match end {
            Ok(Written::Won(_)) => winners.push(body),
            Ok(Written::Refused) => {}
            Err(trouble) => troubles.push(trouble),
        }
    }
    let told = winners.len();
    match (winners.as_slice(), troubles.pop()) {
        ([_, _, ..], _) => Err(Trouble::Unfit(format!(
            "{WRITERS} writers raced to {what} one object, and {told} were told that they had"
        ))),
        (_, Some(trouble)) => Err(trouble),
        ([], None) => Err(Trouble::Doubtful(format!(
            "{WRITERS} writers raced to {what} one object, and all were refused"
        ))),
        ([winner], None) if ground.read(key).await?.as_ref() == Some(*winner) => Ok(()),
        ([_], None) => Err(Trouble::Unfit(format!(
            "{WRITERS} writers raced to {what} one object, and it is not what the winner wrote"
        ))),
    }
}
