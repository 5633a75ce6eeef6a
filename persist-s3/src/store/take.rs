//! Taking the head of a volume: by whom, and what this host can prove about whoever has it.

use super::engine::Engine;
use crate::{
    head::{
        change::FoundBy,
        record::{Beats, Head, Lease, SessionId},
        writer::ETag,
    },
    remote::{Ask, Taken},
    workspace::Workspace,
};
use persist_core::{
    Access, AttachmentId, ErrorKind, Holder, Liveness, Result, Takeover, VolumeName, Vouch,
    directory::Verdict,
};

impl Engine {
    /// Takes the head, which was just `seen`.
    pub(super) async fn take_head(
        &self,
        name: &VolumeName,
        seen: (Head, ETag),
        workspace: &Workspace,
        lease: Lease,
        takeover: &Takeover,
    ) -> Result<Taken> {
        let volume = seen.0.volume.clone();
        match self.take_seen(name, seen, workspace, lease.clone(), takeover).await {
            // The holder that this host could vouch for was another's predecessor by then.
            Err(e) if e.kind() == ErrorKind::Conflict && !matches!(takeover, Takeover::Vouched(_)) => {}
            done => return done,
        }
        let seen = self.remote.find_there(&volume).await?;
        self.take_seen(name, seen, workspace, lease, takeover).await
    }

    async fn take_seen(
        &self,
        name: &VolumeName,
        seen: (Head, ETag),
        workspace: &Workspace,
        lease: Lease,
        takeover: &Takeover,
    ) -> Result<Taken> {
        let head = &seen.0;
        let takeover = self.takeover(head, &workspace.state().sessions, takeover);
        workspace.asking(lease.session, head.lease.as_ref().map(|lease| lease.session)).await?;
        let volume = head.volume.clone();
        let ask =
            Ask { name: name.clone(), by: FoundBy::Name, lease, takeover, wait: None, seen: Some(seen) };
        self.remote.take(&volume, &ask).await
    }

    /// When the head may be taken. What this host can prove needs no lease to run out: that the lease is of
    /// the session that this store's workspace asked for, or of a process of this host that is gone.
    pub(super) fn takeover(&self, head: &Head, mine: &[SessionId], asked: &Takeover) -> Takeover {
        let Some(lease) = &head.lease else { return asked.clone() };
        let vouch =
            |reason: &str| Takeover::Vouched(Vouch::new(lease.attachment.clone(), head.epoch, reason));
        if mine.contains(&lease.session) {
            return vouch("this process serves the workspace that the lease was taken for");
        }
        if lease.holder.workload.as_str().ends_with(&self.signature()) {
            return vouch("it was held for a call of this opened store that was dropped");
        }
        match (self.verdict(&lease.holder), asked) {
            (_, Takeover::Vouched(_)) => asked.clone(),
            (Verdict::Dead(why), _) => vouch(&why),
            // No use to wait until it could have run out.
            (Verdict::Alive, _) => Takeover::Never,
            (_, Takeover::ByFencing) => Takeover::WhenExpired,
            _ => asked.clone(),
        }
    }

    /// What this host can say about a holder: of its own processes alone, for any host reaches the bucket.
    pub(super) fn verdict(&self, holder: &Holder) -> Verdict {
        let here = self.node.as_ref() == Some(&holder.node);
        match (&self.spaces, &holder.liveness) {
            (Some(spaces), Liveness::Process(_)) if here => spaces.near().verdict(holder),
            _ => Verdict::CannotTell,
        }
    }

    /// How the workloads end that this opened store holds heads for.
    pub(super) fn signature(&self) -> String {
        format!("of opened store {:032x}", self.nonce)
    }

    pub(super) fn lease(&self, attachment: AttachmentId, holder: Holder, access: Access) -> Lease {
        // An orchestrator's workload outlives the agent that renews: only who knows it may declare it dead.
        let beats = match holder.liveness {
            Liveness::External => Beats::Never,
            _ => Beats::Renewed,
        };
        let session = SessionId(self.remote.nonce());
        Lease { attachment, session, holder, access, since: self.now(), ttl: self.lease_ttl, beats }
    }

    pub(super) fn new_attachment(&self) -> AttachmentId {
        let environment = &self.remote.environment;
        AttachmentId::mint(&*environment.clock, &*environment.entropy)
    }
}
