//! What an orchestrator does with a store: attach for others, adopt after a restart, vouch for the dead.

use crate::{
    Outcome,
    journal::{Journal, Service},
    workload::Waiting,
};
use futures::StreamExt;
use persist::attachment::{AdoptOptions, Attachment, AttachmentFilter};
use persist::{
    AttachOptions, BindOptions, DetachOptions, Liveness, Node, Takeover, VolumeName, VolumeStore,
    VolumeStoreExt, Vouch, Workload,
};
use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};
use tokio::process::Child;

/// Runs services, each with a volume of its own name.
#[derive(Debug)]
pub(crate) struct Orchestrator {
    store: Arc<dyn VolumeStore>,
    node: Node,
    journal: Journal,
    /// The processes that this run of the orchestrator started itself.
    children: BTreeMap<String, Child>,
}

/// What was done for a service.
#[derive(Debug)]
pub(crate) enum Ensured {
    /// It was not known.
    Started(Service),
    /// Its process lives; the attachment was taken up again.
    Adopted(Service),
    /// Its process was dead; a new one continues.
    Replaced(Service),
}

impl Orchestrator {
    /// An orchestrator of `node` that keeps its own records below `state`.
    pub(crate) fn new(store: Arc<dyn VolumeStore>, node: Node, state: &Path) -> Outcome<Self> {
        Ok(Self { store, node, journal: Journal::open(state)?, children: BTreeMap::new() })
    }

    /// Sees to it that the service runs.
    pub(crate) async fn ensure(&mut self, name: &str) -> Outcome<Ensured> {
        let Some(known) = self.journal.get(name).cloned() else {
            let attachment = self.attach(name, 1, Takeover::default()).await?;
            return self.run(name, 1, &attachment).await.map(Ensured::Started);
        };
        if known.process.as_ref().is_some_and(|process| process.is_alive()) {
            return self.adopt(name, known).await.map(Ensured::Adopted);
        }
        let next = known.incarnation + 1;
        let attachment = self.attach(name, next, Takeover::Vouched(vouch(&known))).await?;
        self.run(name, next, &attachment).await.map(Ensured::Replaced)
    }

    /// Says which attachments of this node are not in the journal. They may be somebody else's: nothing is
    /// done about them.
    pub(crate) async fn show_strangers(&self) {
        let here = AttachmentFilter::default().with_node(self.node.id.clone());
        let mut list = self.store.attachments(here);
        while let Some(record) = list.next().await {
            match record {
                Ok(record) if self.journal.services().any(|(_, known)| known.attachment.id == record.id) => {}
                Ok(record) => println!("not mine: {} holds {}", record.holder.workload, record.volume_name),
                Err(error) => println!("unreadable: {error}"),
            }
        }
    }

    /// Stops every service, and gives its volume free.
    pub(crate) async fn stop(&mut self) -> Outcome {
        let services: Vec<_> = self.journal.services().map(|(n, s)| (n.clone(), s.clone())).collect();
        for (name, service) in services {
            if let Some(process) = &service.process {
                process.kill().await?;
            }
            if let Some(mut child) = self.children.remove(&name) {
                child.wait().await?;
            }
            self.store.detach(&service.attachment.id, DetachOptions::default()).await?;
            self.journal.remove(&name)?;
            println!("stopped {name}");
        }
        Ok(self.store.close().await?)
    }

    /// Binds the service's volume for one incarnation of it. The process is not ours to judge for the
    /// store: it outlives us, hence `External`.
    async fn attach(&self, name: &str, incarnation: u64, takeover: Takeover) -> Outcome<Attachment> {
        let options = AttachOptions::default()
            .with_workload(Workload::new(format!("{name}.{incarnation}"))?)
            .with_liveness(Liveness::External)
            .with_takeover(takeover);
        let options = BindOptions::default().with_attach(options);
        Ok(self.store.bind(&VolumeName::new(name)?, options).await?.attachment().clone())
    }

    /// Starts a process on the attachment. The journal knows it before it writes its first byte.
    async fn run(&mut self, name: &str, incarnation: u64, attachment: &Attachment) -> Outcome<Service> {
        let mut service = Service { incarnation, attachment: attachment.record().clone(), process: None };
        self.journal.put(name, service.clone())?;
        let waiting = Waiting::start(attachment.path())?;
        service.process = Some(waiting.process.clone());
        self.journal.put(name, service.clone())?;
        self.children.insert(name.to_owned(), waiting.go().await?);
        Ok(service)
    }

    /// Takes the attachment of a process up again that went on without us.
    async fn adopt(&mut self, name: &str, known: Service) -> Outcome<Service> {
        let adopted = self.store.adopt(&known.attachment, AdoptOptions::default()).await?;
        let service = Service { attachment: adopted.record().clone(), ..known };
        self.journal.put(name, service.clone())?;
        Ok(service)
    }
}

/// The statement that a service's last process is dead: said only when we have seen that it is gone.
fn vouch(known: &Service) -> Vouch {
    let pid = known
        .process
        .as_ref()
        .map_or("never started".into(), |process| format!("pid {} is gone", process.pid));
    Vouch::new(known.attachment.id.clone(), known.attachment.epoch, pid)
}

impl fmt::Display for Ensured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, service) = match self {
            Self::Started(service) => ("started", service),
            Self::Adopted(service) => ("adopted", service),
            Self::Replaced(service) => ("replaced", service),
        };
        let record = &service.attachment;
        let pid = service.process.as_ref().map_or(0, |process| process.pid);
        write!(
            f,
            "{word} {} pid {pid} attachment {} epoch {}",
            record.holder.workload, record.id, record.epoch
        )
    }
}
