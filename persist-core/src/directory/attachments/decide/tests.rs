//! The whole matrix, by tables.

use super::*;
use crate::{
    clock::{SystemEnvironment, Timestamp},
    holder::{BootId, Liveness, Node, NodeId, Workload},
    id::{AttachmentId, VolumeId},
    name::VolumeName,
};
use Access::{ReadOnly, ReadWrite, SharedAcrossNodes, SharedOnNode};

const ALL: [Access; 4] = [ReadWrite, SharedOnNode, SharedAcrossNodes, ReadOnly];

fn holder(node: &str, workload: &str) -> Holder {
    let node = Node::new(NodeId::new(node).unwrap(), BootId::new("b").unwrap());
    Holder::new(node, Workload::new(workload).unwrap(), Liveness::External)
}

fn record(holder: Holder, access: Access, epoch: u64) -> AttachmentRecord {
    let volume = VolumeId::mint(&SystemEnvironment, &SystemEnvironment);
    let id = AttachmentId::mint(&SystemEnvironment, &SystemEnvironment);
    let (name, since) = (VolumeName::new("v").unwrap(), Timestamp::from_millisecond(0));
    AttachmentRecord::new(id, (volume, name), holder, access, Epoch::new(epoch), since)
}

fn dead() -> Verdict {
    Verdict::Dead("its process is gone".into())
}

fn ask(
    holder: &Holder,
    access: Access,
    takeover: &Takeover,
    on_record: &[(AttachmentRecord, Verdict)],
) -> Decision {
    let identity = Identity { access, target: None, kind: TargetKind::Mount, snapshot: None };
    let seen: Vec<_> =
        on_record.iter().map(|(record, verdict)| Seen { record, kind: TargetKind::Mount, verdict }).collect();
    decide(&Wanted { holder, identity, takeover }, &seen)
}

/// Which epoch a new attachment gets beside `other` on this node (`near`) and on another (`far`), or none
/// if it is refused.
struct Row {
    mine: Access,
    theirs: Access,
    near: Option<Mint>,
    far: Option<Mint>,
}

const fn row(mine: Access, theirs: Access, near: Option<Mint>, far: Option<Mint>) -> Row {
    Row { mine, theirs, near, far }
}

const NEW: Option<Mint> = Some(Mint::New);
const SEEN: Option<Mint> = Some(Mint::Seen);
const SHARE: Option<Mint> = Some(Mint::Share(Epoch::ZERO));

const MATRIX: [Row; 16] = [
    row(ReadWrite, ReadWrite, None, None),
    row(ReadWrite, SharedOnNode, None, None),
    row(ReadWrite, SharedAcrossNodes, None, None),
    row(ReadWrite, ReadOnly, NEW, NEW),
    row(SharedOnNode, ReadWrite, None, None),
    row(SharedOnNode, SharedOnNode, SHARE, None),
    row(SharedOnNode, SharedAcrossNodes, None, None),
    row(SharedOnNode, ReadOnly, NEW, NEW),
    row(SharedAcrossNodes, ReadWrite, None, None),
    row(SharedAcrossNodes, SharedOnNode, None, None),
    row(SharedAcrossNodes, SharedAcrossNodes, SHARE, SHARE),
    row(SharedAcrossNodes, ReadOnly, NEW, NEW),
    row(ReadOnly, ReadWrite, SEEN, SEEN),
    row(ReadOnly, SharedOnNode, SEEN, SEEN),
    row(ReadOnly, SharedAcrossNodes, SEEN, SEEN),
    row(ReadOnly, ReadOnly, SEEN, SEEN),
];

#[test]
fn the_access_matrix_holds_and_shared_claims_share_the_epoch() {
    let me = holder("here", "me");
    for Row { mine, theirs, near, far } in &MATRIX {
        for (node, expected) in [("here", near), ("there", far)] {
            for verdict in [Verdict::Alive, Verdict::CannotTell] {
                let other = record(holder(node, "other"), *theirs, 0);
                let got = ask(&me, *mine, &Takeover::ByFencing, &[(other, verdict.clone())]);
                let want = expected
                    .map_or(Decision::InUse(vec![0]), |mint| Decision::Grant { replaced: vec![], mint });
                assert_eq!(got, want, "{mine:?} beside {theirs:?} on {node}, {verdict:?}");
            }
        }
    }
}

#[test]
fn the_dead_make_room_for_everybody_and_share_no_epoch() {
    let me = holder("here", "me");
    for mine in ALL {
        for theirs in ALL {
            let other = record(holder("here", "other"), theirs, 3);
            let mint = if mine == ReadOnly { Mint::Seen } else { Mint::New };
            let got = ask(&me, mine, &Takeover::Never, &[(other, dead())]);
            assert_eq!(got, Decision::Grant { replaced: vec![0], mint }, "{mine:?} after {theirs:?}");
        }
    }
}

#[test]
fn a_volume_that_nobody_has_is_granted() {
    let me = holder("here", "me");
    for (access, mint) in ALL.into_iter().zip([Mint::New, Mint::New, Mint::New, Mint::Seen]) {
        assert_eq!(ask(&me, access, &Takeover::ByFencing, &[]), Decision::Grant { replaced: vec![], mint });
    }
}

#[test]
fn a_lease_that_ran_out_makes_room_for_who_asks_for_that_and_is_in_its_way() {
    let me = holder("here", "me");
    for theirs in ALL {
        let other = record(holder("there", "other"), theirs, 3);
        for mine in ALL {
            let blocks = !mine.allows(&me, theirs, &other.holder);
            let got = ask(&me, mine, &Takeover::WhenExpired, &[(other.clone(), Verdict::Expired)]);
            let Decision::Grant { replaced, mint } = got else {
                panic!("{mine:?} after {theirs:?}: {got:?}")
            };
            assert_eq!(replaced.is_empty(), !blocks, "{mine:?} after {theirs:?}");
            assert!(!blocks || mint == Mint::New, "{mine:?} after {theirs:?}: {mint:?}");
        }
    }
}

#[test]
fn only_a_vouch_takes_a_volume_from_a_holder_that_is_not_proven_dead() {
    let me = holder("here", "me");
    let other = record(holder("there", "other"), ReadWrite, 4);
    let vouch = |epoch| Takeover::Vouched(Vouch::new(other.id.clone(), Epoch::new(epoch), "cut off"));
    let on_record = [(other.clone(), Verdict::CannotTell)];
    let expired = [(other.clone(), Verdict::Expired)];
    for takeover in [Takeover::ByFencing, Takeover::Never] {
        assert_eq!(ask(&me, ReadWrite, &takeover, &on_record), Decision::InUse(vec![0]));
        assert_eq!(ask(&me, ReadWrite, &takeover, &expired), Decision::InUse(vec![0]), "nobody asked for it");
    }
    for verdict in [Verdict::CannotTell, Verdict::Alive] {
        let held = [(other.clone(), verdict)];
        assert_eq!(ask(&me, ReadWrite, &Takeover::WhenExpired, &held), Decision::InUse(vec![0]));
    }
    let granted = Decision::Grant { replaced: vec![0], mint: Mint::New };
    assert_eq!(ask(&me, ReadWrite, &vouch(4), &on_record), granted);
    assert!(matches!(ask(&me, ReadWrite, &vouch(3), &on_record), Decision::Conflict(_)), "it has moved on");
    assert!(matches!(ask(&me, ReadWrite, &vouch(5), &on_record), Decision::Conflict(_)));
}

#[test]
fn a_vouch_about_one_that_is_gone_is_moot_if_the_volume_is_free_and_refused_if_another_has_it() {
    let me = holder("here", "me");
    let gone = record(holder("there", "other"), ReadWrite, 4);
    let vouch = Takeover::Vouched(Vouch::new(gone.id, Epoch::new(4), "cut off"));
    let free = ask(&me, ReadWrite, &vouch, &[]);
    assert_eq!(free, Decision::Grant { replaced: vec![], mint: Mint::New });
    let third = record(holder("there", "third"), ReadWrite, 5);
    let Decision::Conflict(differences) = ask(&me, ReadWrite, &vouch, &[(third, Verdict::CannotTell)]) else {
        panic!("a vouch about the one before must not touch its follower");
    };
    assert_eq!(differences[0].field, "vouch");
}

#[test]
fn a_vouch_clears_one_claim_and_not_its_neighbours() {
    let me = holder("here", "me");
    let (one, two) =
        (record(holder("there", "1"), SharedOnNode, 2), record(holder("there", "2"), SharedOnNode, 2));
    let vouch = Takeover::Vouched(Vouch::new(one.id.clone(), Epoch::new(2), "cut off"));
    let on_record = [(one, Verdict::CannotTell), (two, Verdict::CannotTell)];
    assert_eq!(ask(&me, SharedOnNode, &vouch, &on_record), Decision::InUse(vec![1]));
}

#[test]
fn the_same_holder_gets_the_same_attachment_dead_or_alive() {
    let me = holder("here", "me");
    for access in ALL {
        for verdict in [Verdict::Alive, dead(), Verdict::CannotTell] {
            let mine = record(me.clone(), access, 5);
            let lost = record(holder("here", "lost"), ReadOnly, 5);
            let adopting = if access == ReadOnly { Mint::Seen } else { Mint::New };
            let got = ask(&me, access, &Takeover::ByFencing, &[(lost, dead()), (mine, verdict)]);
            assert_eq!(got, Decision::Same { at: 1, dead: vec![0], adopting }, "{access:?}");
        }
    }
}

#[test]
fn adopting_mints_only_when_no_other_claim_is_left() {
    let me = holder("here", "me");
    for (verdict, adopting) in [
        (Verdict::Alive, Mint::Share(Epoch::new(5))),
        (Verdict::CannotTell, Mint::Share(Epoch::new(5))),
        (dead(), Mint::New),
    ] {
        let claims = [
            (record(me.clone(), SharedOnNode, 5), Verdict::Alive),
            (record(holder("here", "2"), SharedOnNode, 5), verdict),
        ];
        let Decision::Same { adopting: got, .. } = ask(&me, SharedOnNode, &Takeover::ByFencing, &claims)
        else {
            panic!("not the same");
        };
        assert_eq!(got, adopting);
    }
}

#[test]
fn the_same_holder_with_another_identity_is_a_conflict_field_by_field() {
    let me = holder("here", "me");
    let name = SnapshotName::new("s").unwrap();
    let mut mine = record(me.clone(), ReadOnly, 1);
    mine.target = Some("/srv/a".into());
    let seen = [Seen { record: &mine, kind: TargetKind::Mount, verdict: &Verdict::Alive }];
    let identity = Identity {
        access: ReadWrite,
        target: Some(Path::new("/srv/b")),
        kind: TargetKind::Symlink,
        snapshot: Some(&name),
    };
    let wanted = Wanted { holder: &me, identity, takeover: &Takeover::ByFencing };
    let Decision::Conflict(differences) = decide(&wanted, &seen) else { panic!("not a conflict") };
    let fields: Vec<_> = differences.iter().map(|d| d.field).collect();
    assert_eq!(fields, ["access", "target", "target_kind", "snapshot"]);
    assert_eq!((differences[1].wanted.as_str(), differences[1].actual.as_str()), ("/srv/b", "/srv/a"));
}

#[test]
fn a_vouch_about_the_holders_own_hung_process_gives_a_new_attachment() {
    let me = holder("here", "me");
    let hung = record(me.clone(), ReadWrite, 6);
    let vouch = Takeover::Vouched(Vouch::new(hung.id.clone(), Epoch::new(6), "hung"));
    let got = ask(&me, ReadWrite, &vouch, &[(hung, Verdict::Alive)]);
    assert_eq!(got, Decision::Grant { replaced: vec![0], mint: Mint::New });
}

#[test]
fn two_attachments_of_a_node_have_two_targets() {
    let (me, target) = (holder("here", "me"), Path::new("/srv/a"));
    for (node, refused) in [("here", true), ("there", false)] {
        let mut other = record(holder(node, "other"), ReadOnly, 1);
        other.target = Some(target.into());
        let seen = [Seen { record: &other, kind: TargetKind::Mount, verdict: &Verdict::Alive }];
        let identity =
            Identity { access: ReadOnly, target: Some(target), kind: TargetKind::Mount, snapshot: None };
        let wanted = Wanted { holder: &me, identity, takeover: &Takeover::ByFencing };
        assert_eq!(matches!(decide(&wanted, &seen), Decision::InUse(_)), refused, "{node}");
    }
}
