//! What one writer alone must see.

use super::ground::{Ground, Trouble, Written};
use object_store::path::Path;

/// Whether a version that the store has just given can be replaced by naming it.
pub(super) async fn replaces(ground: &Ground<'_>) -> Result<bool, Trouble> {
    let key = ground.key();
    let etag = created(ground, &key).await?;
    Ok(ground.replace(&key, &ground.body(), &etag).await? != Written::Refused)
}

/// A second create and a stale version are refused, and change nothing; the current version is replaced.
pub(super) async fn conditions(ground: &Ground<'_>) -> Result<(), Trouble> {
    let key = ground.key();
    let first = created(ground, &key).await?;
    if ground.create(&key, &ground.body()).await? != Written::Refused {
        return unfit("If-None-Match: * was ignored, an object that was there was overwritten");
    }
    let body = ground.body();
    if ground.replace(&key, &body, &first).await? == Written::Refused {
        return Err(Trouble::Doubtful("an If-Match with the current ETag was refused".into()));
    }
    if ground.replace(&key, &ground.body(), &first).await? != Written::Refused {
        return unfit("a stale If-Match was ignored, a newer version was overwritten");
    }
    match ground.read(&key).await? {
        Some(found) if found == body => Ok(()),
        _ => unfit("a write that was refused changed the object, or one that was accepted did not"),
    }
}

/// A version of nothing is refused, and nothing is made.
pub(super) async fn missing(ground: &Ground<'_>) -> Result<(), Trouble> {
    let (there, absent) = (ground.key(), ground.key());
    let etag = created(ground, &there).await?;
    if ground.replace(&absent, &ground.body(), &etag).await? != Written::Refused {
        return unfit("If-Match was ignored where no object is, and one was made");
    }
    match ground.read(&absent).await? {
        None => Ok(()),
        Some(_) => unfit("If-Match was refused where no object is, and one was made"),
    }
}

/// What was written is read, in whole and in part, and listed at once.
pub(super) async fn reads(ground: &Ground<'_>) -> Result<(), Trouble> {
    let (key, body) = (ground.key(), ground.body());
    if ground.create(&key, &body).await? == Written::Refused {
        return Err(Trouble::Doubtful("a create was refused where nothing is".into()));
    }
    if ground.read(&key).await?.as_ref() != Some(&body) {
        return unfit("what was just written is not read");
    }
    if ground.read_part(&key).await? != body.slice(2..5) {
        return unfit("a range of an object is not the bytes that were asked for");
    }
    if !ground.list().await?.contains(&key) {
        return unfit("what was just written is not listed");
    }
    Ok(())
}

/// Makes an object; its ETag.
pub(super) async fn created(ground: &Ground<'_>, key: &Path) -> Result<String, Trouble> {
    match ground.create(key, &ground.body()).await? {
        Written::Won(etag) => Ok(etag),
        Written::Refused => Err(Trouble::Doubtful("a create was refused where nothing is".into())),
    }
}

fn unfit<T>(seen: &str) -> Result<T, Trouble> {
    Err(Trouble::Unfit(seen.to_owned()))
}
