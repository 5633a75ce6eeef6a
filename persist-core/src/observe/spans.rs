//! The spans of [`ObservedStore`](super::ObservedStore).

use crate::{AttachmentId, Result, SnapshotName, VolumeId, VolumeName};
use futures::stream::{self, BoxStream, StreamExt};
use tracing::{Instrument, Span, field::display};

/// One operation and its span.
#[derive(Debug)]
pub(super) struct Call(pub(super) Span);

/// Opens the span of an operation, about a volume if one is named.
macro_rules! span {
    ($name:literal) => {
        $crate::observe::spans::Call(::tracing::info_span!(
            target: "persist_core::observe",
            $name,
            volume = ::tracing::field::Empty,
            volume_id = ::tracing::field::Empty,
            attachment = ::tracing::field::Empty,
            snapshot = ::tracing::field::Empty,
            error = ::tracing::field::Empty,
        ))
    };
    ($name:literal, $volume:expr) => {
        $crate::observe::spans::span!($name).of_volume(Some($volume))
    };
}

pub(super) use span;

impl Call {
    pub(super) fn of_volume(self, volume: Option<&VolumeName>) -> Self {
        if let Some(volume) = volume {
            self.0.record("volume", display(volume));
        }
        self
    }

    pub(super) fn of_snapshot(self, snapshot: &SnapshotName) -> Self {
        self.0.record("snapshot", display(snapshot));
        self
    }

    pub(super) fn volume_id(&self, id: &VolumeId) {
        self.0.record("volume_id", display(id));
    }

    pub(super) fn attachment(&self, id: &AttachmentId) {
        self.0.record("attachment", display(id));
    }

    /// Awaits `done` inside the span; records what `note` knows of its result, or its error.
    pub(super) async fn run<T>(
        self,
        done: impl Future<Output = Result<T>>,
        note: impl FnOnce(&Self, &T),
    ) -> Result<T> {
        let result = done.instrument(self.0.clone()).await;
        match &result {
            Ok(value) => note(&self, value),
            Err(error) => {
                self.0.record("error", display(error));
            }
        }
        result
    }

    /// Enters the span whenever `items` is polled.
    pub(super) fn entered_by<T: Send + 'static>(
        self,
        mut items: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        let polled = stream::poll_fn(move |context| {
            let _entered = self.0.enter();
            let item = items.poll_next_unpin(context);
            if let std::task::Poll::Ready(Some(Err(error))) = &item {
                self.0.record("error", display(error));
            }
            item
        });
        polled.boxed()
    }
}
