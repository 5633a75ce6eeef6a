//! The server, as a process of its own.

use persist_s3_server::{KeyPair, Server, ServerOptions, Verb};
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
};

/// The first argument of a server.
pub const MARK: &str = "--as-server";

pub const BUCKET: &str = "bucket";
pub const ACCESS_KEY: &str = "access";
pub const SECRET_KEY: &str = "secret";

/// A server whose objects are in files; it ends with this.
pub struct Running {
    process: Child,
    out: BufReader<ChildStdout>,
    pub url: String,
}

impl Running {
    /// Starts a server of the objects in `directory`.
    pub fn start(directory: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg(MARK)
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        let mut running = Self { process, out, url: String::new() };
        running.url = running.line();
        running
    }

    /// What was asked since the last call: requests by their verbs, and bytes.
    pub fn asked(&mut self) -> String {
        writeln!(self.process.stdin.as_mut().unwrap()).unwrap();
        self.line()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.out.read_line(&mut line).unwrap(), 0, "the server ended");
        line.trim().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server itself: for each line that it reads, it says what was asked.
pub fn main(words: &[String]) -> ExitCode {
    let keys = KeyPair::new(ACCESS_KEY, SECRET_KEY);
    let server = Server::in_files(PathBuf::from(&words[0]), ServerOptions::new(BUCKET, keys)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0))).unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    let serving = server.clone();
    // Ends with the runtime.
    runtime.spawn(async move { serving.serve(listener, std::future::pending()).await });
    for _ in std::io::stdin().lines().map_while(Result::ok) {
        println!("{}", told(&server));
        server.log().reset();
    }
    ExitCode::SUCCESS
}

fn told(server: &Server) -> String {
    let mut words = Vec::new();
    let (mut received, mut sent) = (0, 0);
    for verb in [Verb::Put, Verb::Get, Verb::Head, Verb::List, Verb::Delete, Verb::DeleteMany, Verb::Other] {
        let count = server.log().total(verb);
        (received, sent) = (received + count.received, sent + count.sent);
        if count.requests > 0 {
            words.push(format!("{} {verb:?}", count.requests));
        }
    }
    format!("{}; {} MiB up, {} MiB down", words.join(", "), received >> 20, sent >> 20)
}
