use super::*;
use crate::remote::testing::{Bench, Fault, each_fault};

async fn nothing(_: &Bench) {}

#[tokio::test(start_paused = true)]
async fn a_store_is_made_only_where_that_was_asked_for() {
    let bench = Bench::new();
    for mode in [OpenMode::Existing, OpenMode::ReadOnly] {
        assert_eq!(bench.remote.open_marker(mode).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert!(bench.store.objects().await.is_empty());
    let Opened::Made(made) = bench.remote.open_marker(OpenMode::CreateIfMissing).await.unwrap() else {
        panic!("found one")
    };
    for mode in [OpenMode::Existing, OpenMode::ReadOnly, OpenMode::CreateIfMissing] {
        assert_eq!(bench.remote.open_marker(mode).await.unwrap(), Opened::Found(made.clone()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_or_a_kill_at_any_request_makes_one_store() {
    let faults: Vec<_> = Fault::ANSWERS.into_iter().chain(Fault::KILLS).collect();
    let open = async |bench: &Bench, ()| bench.remote.open_marker(OpenMode::CreateIfMissing).await;
    each_fault(&faults, nothing, open, async |bench, (), done, at| {
        let (Opened::Found(now) | Opened::Made(now)) =
            bench.remote.open_marker(OpenMode::CreateIfMissing).await.unwrap();
        if let Some(done) = done {
            let (Opened::Found(then) | Opened::Made(then)) = done.unwrap();
            assert_eq!(then, now, "{at}");
        }
        assert_eq!(bench.store.objects().await.len(), 1, "{at}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn probes_are_noted_by_endpoint_and_the_oldest_are_forgotten() {
    let bench = Bench::new();
    bench.remote.open_marker(OpenMode::CreateIfMissing).await.unwrap();
    for at in 0..20 {
        let probed = Probed { at: Timestamp::from_millisecond(at), quirks: BTreeSet::new() };
        bench.remote.note_probe(&format!("https://{at}"), &probed).await.unwrap();
    }
    let Opened::Found(marker) = bench.remote.open_marker(OpenMode::ReadOnly).await.unwrap() else { panic!() };
    assert_eq!(marker.probes.len(), PROBES_MAX);
    assert!(marker.probes.contains_key("https://19") && !marker.probes.contains_key("https://3"));
}

#[test]
fn a_newer_store_is_refused_by_name_and_garbage_is_corrupt() {
    for (text, kind, word) in [
        (&br#"{"format":2,"features":[],"what":1}"#[..], ErrorKind::Unsupported, "format 2"),
        (br#"{"format":1,"features":["shredding"],"what":1}"#, ErrorKind::Unsupported, "shredding"),
        (br#"{"format":1,"features":[],"what":1}"#, ErrorKind::Corrupt, "marker"),
        (b"\xff", ErrorKind::Corrupt, "marker"),
        (b"", ErrorKind::Corrupt, "marker"),
    ] {
        let error = decode(text).unwrap_err();
        assert!(error.kind() == kind && error.to_string().contains(word), "{error}");
    }
}
