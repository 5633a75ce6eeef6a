//! One session's view of a head: what it knows, what it has sent, and what an answer means.
//!
//! Pure: the store sends and reads, this decides. A session has one change under way at a time.

use super::change::FoundBy;
use super::record::{CommitName, Head, Lease, SessionId, Stage};
use persist_core::{Epoch, Error, Result};

/// What a store calls a version of an object; compared, never computed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(pub String);

/// A conditional write of a head.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Put {
    /// The body.
    pub body: Head,
    /// The version that it replaces.
    pub if_match: ETag,
}

/// A head as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::large_enum_variant, reason = "one lives for a moment, on the stack")]
pub enum Found {
    /// It is there.
    Head(Head, ETag),
    /// There is no such object.
    Gone,
}

/// One session that writes, or wants to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Writer {
    session: SessionId,
    /// The newest head that is known to have been ours, or that we asked to take.
    head: Head,
    etag: ETag,
    under_way: Option<Head>,
    standing: Standing,
}

/// Whether a session may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It asked for the head, and does not know yet.
    Asking,
    /// The head is its own.
    Holding,
    /// It gave the head free, or deleted the volume. Final.
    Ended,
    /// Another session has it. Final: never taken back, even if the head shows this session again, for
    /// then a clone of this machine writes.
    Lost(Epoch),
    /// The volume is gone. Final.
    Removed,
}

/// What an answer other than success meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::large_enum_variant, reason = "one lives for a moment, on the stack")]
pub enum Resolution {
    /// The change was applied.
    Applied,
    /// It was not applied *yet*: it may still be under way, so only the same bytes are sent again, and
    /// never another body on that base.
    SendAgain(Put),
    /// It was applied and acknowledged to nobody, and then another session took the head.
    AppliedThenLost(Epoch),
    /// It was not applied, and another session has the head.
    Lost(Epoch),
    /// The volume is gone; its head is never created again.
    Removed,
}

impl Writer {
    /// Asks for the head that was found: the first [`Put`] of a session.
    ///
    /// # Errors
    /// As [`Head::taken`].
    pub fn ask(found: &Head, (etag, by): (&ETag, FoundBy), lease: Lease, nonce: u128) -> Result<(Self, Put)> {
        let session = lease.session;
        let body = found.taken(by, lease, nonce)?;
        let mut writer = Self {
            session,
            head: found.clone(),
            etag: etag.clone(),
            under_way: None,
            standing: Standing::Asking,
        };
        let put = writer.put(body);
        Ok((writer, put))
    }

    /// Begins the change from the head that is ours to `next`.
    ///
    /// # Errors
    /// `Fenced` unless the head is ours; `Internal` while another change is under way.
    pub fn change(&mut self, next: impl FnOnce(&Head, SessionId) -> Result<Head>) -> Result<Put> {
        if self.standing != Standing::Holding {
            return Err(Error::fenced(self.head.epoch, self.current_epoch(), None));
        }
        if self.under_way.is_some() {
            return Err(Error::internal("two changes of one head at once"));
        }
        let body = next(&self.head, self.session)?;
        Ok(self.put(body))
    }

    /// The store answered that the change was applied.
    pub fn applied(&mut self, etag: ETag) {
        let Some(body) = self.under_way.take() else { return };
        let kept = body.lease.as_ref().is_some_and(|lease| lease.session == self.session);
        self.standing = if kept { Standing::Holding } else { Standing::Ended };
        (self.head, self.etag) = (body, etag);
    }

    /// The store answered anything else, or nothing: `found` is what a read showed *after* that, and
    /// `in_history` says whether a commit is in the parent chain of the commit that was found.
    pub fn resolve(&mut self, found: &Found, in_history: impl FnOnce(&CommitName) -> bool) -> Resolution {
        let Some(sent) = self.under_way.clone() else { return Resolution::Applied };
        let Found::Head(head, etag) = found else { return self.end(Standing::Removed, Resolution::Removed) };
        if head.write == sent.write {
            self.applied(etag.clone());
            return Resolution::Applied;
        }
        if *etag == self.etag {
            return Resolution::SendAgain(Put { body: sent, if_match: self.etag.clone() });
        }
        let new_commit = sent.commit.as_ref().filter(|commit| self.head.commit.as_ref() != Some(commit));
        if new_commit.is_some_and(in_history) {
            return self.end(Standing::Lost(head.epoch), Resolution::AppliedThenLost(head.epoch));
        }
        match head.stage {
            Stage::Deleted | Stage::Trashed(_) => self.end(Standing::Removed, Resolution::Removed),
            _ => self.end(Standing::Lost(head.epoch), Resolution::Lost(head.epoch)),
        }
    }

    /// Whether the session may write.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// The head as this session knows it.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Whether a change is under way.
    pub fn waits(&self) -> bool {
        self.under_way.is_some()
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    fn put(&mut self, body: Head) -> Put {
        self.under_way = Some(body.clone());
        Put { body, if_match: self.etag.clone() }
    }

    fn end(&mut self, standing: Standing, resolution: Resolution) -> Resolution {
        self.under_way = None;
        self.standing = standing;
        resolution
    }

    fn current_epoch(&self) -> Epoch {
        match self.standing {
            Standing::Lost(epoch) => epoch,
            _ => self.head.epoch,
        }
    }
}
