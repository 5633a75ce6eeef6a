//! Choosing a store by what the caller can afford to lose, not by its brand.

use crate::{
    attachment::Access,
    capability::{Capabilities, Consistency, Fencing, StoreInfo, Survives},
    error::{Error, Result},
    store::VolumeStore,
};
use std::{sync::Arc, time::Duration};

/// What a caller needs from a store; everything left alone is not asked for.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Needs {
    /// Acknowledged data must survive this.
    pub survives: Survives,
    /// The loss of a host may cost at most this much of the newest work.
    pub recovery_point: Option<Duration>,
    /// The volume will be attached like this.
    pub access: Option<Access>,
    /// Cuts must be at least this consistent without hooks.
    pub consistency: Consistency,
    /// Lost writers must be fenced at least like this.
    pub fencing: Fencing,
    /// Flags beyond those that follow from the rest ([`Capabilities::LOCAL_IO`], ...).
    pub capabilities: Capabilities,
}

/// Why a store does not fit, one sentence for each need it misses; empty means that it fits.
pub fn shortfalls(info: &StoreInfo, needs: &Needs) -> Vec<String> {
    let have = &info.characteristics;
    let mut missing = Vec::new();
    let mut ask = |holds: bool, sentence: String| {
        if !holds {
            missing.push(sentence);
        }
    };
    ask(have.survives >= needs.survives, format!("survives {:?}, not {:?}", have.survives, needs.survives));
    ask(have.fencing >= needs.fencing, format!("fencing is {:?}, not {:?}", have.fencing, needs.fencing));
    let cut = (have.cut_consistency, needs.consistency);
    ask(cut.0 >= cut.1, format!("cuts are {:?}, not {:?}", cut.0, cut.1));
    let wanted = needs.capabilities | needs.access.map_or(Capabilities::empty(), Access::capability);
    let lacks = wanted.difference(info.capabilities);
    ask(lacks.is_empty(), format!("lacks {lacks}"));
    if let Some(wanted) = needs.recovery_point {
        let point = have.recovery_point;
        ask(
            point.is_some_and(|have| have <= wanted),
            match point {
                Some(have) => format!("a loss of the host costs the last {have:?}, not {wanted:?}"),
                None => "a loss of the host costs everything since the data was last moved elsewhere".into(),
            },
        );
    }
    missing
}

/// The first of `stores` that fits `needs`.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) says, store by store, why not.
pub fn pick(stores: &[Arc<dyn VolumeStore>], needs: &Needs) -> Result<Arc<dyn VolumeStore>> {
    let mut refused = Error::unsupported(needs.capabilities, "no store meets the needs");
    for store in stores {
        let info = store.info();
        let missing = shortfalls(&info, needs);
        if missing.is_empty() {
            return Ok(Arc::clone(store));
        }
        refused = refused.context("store", format_args!("{} ({})", info.location, missing.join("; ")));
    }
    Err(refused)
}

/// Refuses a store that does not meet `needs`.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) names every shortfall.
pub fn require(info: &StoreInfo, needs: &Needs) -> Result<()> {
    let missing = shortfalls(info, needs);
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::unsupported(needs.capabilities, "the store does not meet the needs")
        .during("open", &info.location)
        .context("because it", missing.join("; ")))
}
