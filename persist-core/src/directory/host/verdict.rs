//! Who may be declared dead on this host.

use crate::{
    directory::place::Verdict,
    holder::{Holder, Liveness, Node},
    linux::process::{self, Life},
};

/// What this host can say about a holder of a store that only this host can reach.
///
/// A boot that is over ends its processes with it, so it proves both kinds dead; nothing proves an
/// [`External`](Liveness::External) holder dead.
pub(super) fn verdict(holder: &Holder, here: &Node) -> Verdict {
    if holder.liveness == Liveness::External {
        return Verdict::CannotTell;
    }
    if process::boot_is_over(&holder.node, here) {
        return Verdict::Dead(format!("its host has booted again since (boot {})", holder.node.boot));
    }
    match &holder.liveness {
        _ if holder.node != *here => Verdict::CannotTell,
        Liveness::Boot => Verdict::Alive,
        Liveness::Process(Some(of)) => match process::life(of) {
            Life::Alive => Verdict::Alive,
            Life::Dead => Verdict::Dead(format!("its process {} is gone", of.pid)),
            Life::CannotTell => Verdict::CannotTell,
        },
        _ => Verdict::CannotTell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holder::{BootId, ProcessId, Workload};

    fn holder(node: &Node, liveness: Liveness) -> Holder {
        Holder::new(node.clone(), Workload::new("w").unwrap(), liveness)
    }

    fn earlier_boot() -> Node {
        let boot = "00000000-0000-0000-0000-000000000000";
        Node::new(format!("host-{boot}").try_into().unwrap(), BootId::new(boot).unwrap())
    }

    #[test]
    fn each_kind_of_holder_is_judged_by_its_own_proof_alone() {
        let here = process::this_host().unwrap();
        let other = Node::new("other".try_into().unwrap(), here.boot.clone());
        let me = process::this_process().unwrap();
        let gone = ProcessId::new(me.pid, me.start_ticks + 1000, me.namespace);
        let foreign = ProcessId::new(me.pid, me.start_ticks, me.namespace + 1);
        let process = |id: &ProcessId| Liveness::Process(Some(id.clone()));
        let dead = |verdict| matches!(verdict, Verdict::Dead(_));
        let judge = |node: &Node, liveness| verdict(&holder(node, liveness), &here);

        assert_eq!(judge(&here, process(&me)), Verdict::Alive);
        assert!(dead(judge(&here, process(&gone))));
        assert_eq!(judge(&here, process(&foreign)), Verdict::CannotTell);
        assert_eq!(judge(&other, process(&gone)), Verdict::CannotTell, "another host's numbers");
        assert!(dead(judge(&earlier_boot(), process(&me))));
        assert_eq!(judge(&here, Liveness::Process(None)), Verdict::CannotTell);

        assert_eq!(judge(&here, Liveness::Boot), Verdict::Alive);
        assert!(dead(judge(&earlier_boot(), Liveness::Boot)));
        assert_eq!(judge(&other, Liveness::Boot), Verdict::CannotTell);

        for node in [&here, &other, &earlier_boot()] {
            assert_eq!(judge(node, Liveness::External), Verdict::CannotTell, "an agent that restarts");
        }
    }
}
