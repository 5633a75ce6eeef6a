//! The spans of an observed store: one an operation, with volume and attachment ids.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, reason = "a test crate")]

use persist_core::{AttachOptions, VolumeName, VolumeStore, observe::ObservedStore, testing::TestStore};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};
use tracing::{
    Id, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Record},
};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt, registry::LookupSpan};

type Fields = BTreeMap<&'static str, String>;

/// A span: its id, its name, its fields.
type Seen = (u64, &'static str, Fields);

/// Keeps every span with its fields.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Seen>>>);

struct Into<'a>(&'a mut Fields);

impl Visit for Into<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        if attributes.metadata().target() == "persist_core::observe" {
            let mut fields = Fields::new();
            attributes.record(&mut Into(&mut fields));
            self.0.lock().unwrap().push((id.into_u64(), attributes.metadata().name(), fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut spans = self.0.lock().unwrap();
        if let Some(span) = spans.iter_mut().rev().find(|span| span.0 == id.into_u64()) {
            values.record(&mut Into(&mut span.2));
        }
    }
}

#[tokio::test]
async fn every_operation_has_a_span_with_the_ids_it_is_about() {
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(spans.clone()));
    let test = TestStore::new().unwrap();
    let store = ObservedStore::new(test.node("a").await.unwrap());
    let name = VolumeName::new("v").unwrap();
    let record = store.create(&name, Default::default()).await.unwrap().volume;
    let attachment = store.attach(&name, AttachOptions::default()).await.unwrap();
    store.sync(&attachment.id, Default::default()).await.unwrap();
    store.detach(&attachment.id, Default::default()).await.unwrap();
    store.get(&VolumeName::new("missing").unwrap()).await.unwrap_err();
    let seen = spans.0.lock().unwrap();
    let names: Vec<_> = seen.iter().map(|span| span.1).collect();
    assert_eq!(names, ["create", "attach", "sync", "detach", "get"]);
    for (_, name, fields) in &seen[..4] {
        assert_eq!(fields["volume_id"], record.id.to_string(), "{name}");
    }
    for (_, name, fields) in &seen[1..4] {
        assert_eq!(fields["attachment"], attachment.id.to_string(), "{name}");
    }
    assert!(seen[4].2["error"].contains("missing"), "{:?}", seen[4].2);
    assert!(seen[..4].iter().all(|span| !span.2.contains_key("error")));
}
