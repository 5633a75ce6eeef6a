//! Tests that need a runtime, and say so.

use libtest_mimic::{Failed, Trial};

/// A test, the suite it belongs to, and the programs it needs.
///
/// Suites are run where `PERSIST_REQUIRE` names them, and then they must be able to: without root, or without a
/// program, they fail. A suite that is not named is ignored, so that the plain test command starts no daemon.
pub struct Planned {
    suite: &'static str,
    name: String,
    programs: Vec<&'static str>,
    run: Box<dyn FnOnce() -> Result<(), Failed> + Send>,
}

impl Planned {
    /// Plans a test of `suite`.
    pub fn new(
        suite: &'static str,
        name: impl Into<String>,
        programs: &[&'static str],
        run: impl FnOnce() -> Result<(), Failed> + Send + 'static,
    ) -> Self {
        Self { suite, name: name.into(), programs: programs.to_vec(), run: Box::new(run) }
    }

    /// The test, for libtest-mimic.
    pub fn into_trial(self) -> Trial {
        let Self { suite, name, programs, run } = self;
        let name = format!("{suite}::{name}");
        match (missing(&programs), required(suite)) {
            (None, true) => Trial::test(name, run),
            (None, false) => {
                Trial::test(format!("{name} (not in PERSIST_REQUIRE)"), run).with_ignored_flag(true)
            }
            (Some(why), true) => Trial::test(name, move || Err(format!("required, but {why}").into())),
            (Some(why), false) => Trial::test(format!("{name} ({why})"), || Ok(())).with_ignored_flag(true),
        }
    }
}

impl std::fmt::Debug for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planned")
            .field("suite", &self.suite)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn missing(programs: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".into());
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = |program: &str| std::env::split_paths(&paths).any(|dir| dir.join(program).exists());
    programs.iter().find(|program| !found(program)).map(|program| format!("needs {program}"))
}

#[allow(clippy::disallowed_methods, reason = "how the tests of this workspace are asked for")]
fn required(suite: &str) -> bool {
    std::env::var("PERSIST_REQUIRE").is_ok_and(|list| list.split(',').any(|name| name == suite))
}
