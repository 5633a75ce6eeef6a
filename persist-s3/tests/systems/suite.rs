//! The tests of one service, which the first of them starts, and which ends behind the last.

use super::{program, service::Service};
use libtest_mimic::Trial;
use std::sync::{Arc, LazyLock};

/// A service that is started when it is first looked at.
pub type Shared = Arc<LazyLock<Service>>;

/// A service by its name, and whether its tests are to run.
pub struct Suite {
    name: &'static str,
    required: bool,
    /// Why it cannot be started.
    missing: Option<String>,
    service: Shared,
}

impl Suite {
    /// The suite of the service that `start` gives, which needs `programs`.
    pub fn new(name: &'static str, programs: &[&str], start: fn() -> Service) -> Self {
        let required = std::env::var("PERSIST_REQUIRE").is_ok_and(|list| list.split(',').any(|n| n == name));
        let missing = program::missing(programs).map(|program| format!("needs {program}"));
        Self { name, required, missing, service: Arc::new(LazyLock::new(start)) }
    }

    /// A trial on the service. It is ignored where the suite is not required, and fails where it is required
    /// and cannot be.
    pub fn trial(&self, test: &str, run: impl FnOnce(&Shared) + Send + 'static) -> Trial {
        let (name, service) = (format!("{}::{test}", self.name), Arc::clone(&self.service));
        let run = move || {
            // Here, because a promise looks at it from inside a runtime.
            LazyLock::force(&service);
            run(&service);
            Ok(())
        };
        match (self.missing.clone(), self.required) {
            (None, true) => Trial::test(name, run),
            (None, false) => {
                Trial::test(format!("{name} (not in PERSIST_REQUIRE)"), run).with_ignored_flag(true)
            }
            (Some(why), true) => Trial::test(name, move || Err(format!("required, but {why}").into())),
            (Some(why), false) => Trial::test(format!("{name} ({why})"), || Ok(())).with_ignored_flag(true),
        }
    }
}
