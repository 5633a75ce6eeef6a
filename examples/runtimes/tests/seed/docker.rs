//! A Docker daemon of our own.

use runtimes::{Dockerd, IMAGE, Planned, Said, run};

pub fn trials() -> Vec<Planned> {
    vec![Planned::new(
        "docker",
        "a_daemon_runs_its_image_also_after_it_was_killed_and_started_again",
        &["dockerd", "docker", "busybox"],
        || {
            let mut dockerd = Dockerd::start(&[])?;
            dockerd.kill()?;
            dockerd.launch()?;
            assert_eq!(run(dockerd.run().args([IMAGE, "echo", "here"])).and_then(Said::well)?, "here");
            Ok(())
        },
    )]
}
