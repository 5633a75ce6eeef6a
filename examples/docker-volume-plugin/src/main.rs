//! The plugin as a program: arguments, logging and signals. What it does is in the library beside it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to people")]

use clap::{Args, Parser, Subcommand, ValueEnum};
use docker_volume_plugin::{Plugin, Server, Settings, client, known::Known, server, stores};
use persist::{Node, NodeId, OpenMode, Result, StoreUrl, linux::cause::cause};
use serde_json::{Value, json};
use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// Volumes of any persist store for `docker run -v name:/path`.
#[derive(Debug, Parser)]
#[command(version)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves Docker until SIGTERM.
    Serve(Serve),
    /// Lists who has which volume, as the stores have it on record.
    Claims {
        /// The plugin's socket.
        #[arg(long, default_value = server::DEFAULT_SOCKET)]
        socket: PathBuf,
    },
    /// Ends a claim that nobody unmounts: its container must be gone.
    Release {
        /// The plugin's socket.
        #[arg(long, default_value = server::DEFAULT_SOCKET)]
        socket: PathBuf,
        /// The volume.
        volume: String,
        /// The claim's ID, as `claims` shows it.
        id: String,
    },
    /// Ends what another host has: you vouch that nothing there writes any more. That host is fenced, and what it
    /// had not synced becomes a salvage when it comes back.
    Vouch {
        /// The plugin's socket.
        #[arg(long, default_value = server::DEFAULT_SOCKET)]
        socket: PathBuf,
        /// The volume.
        volume: String,
        /// The attachment, as `claims` shows it.
        attachment: String,
        /// Its epoch, as `claims` shows it: a vouch is no good for who has the volume next.
        epoch: u64,
        /// How you know, for the log.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Args)]
struct Serve {
    /// Where Docker finds the plugin; the file's name is the driver's.
    #[arg(long, default_value = server::DEFAULT_SOCKET)]
    socket: PathBuf,
    /// What the plugin knows: which volume is in which store.
    #[arg(long, default_value = "/var/lib/persist-docker")]
    state: PathBuf,
    /// The store of volumes that are created without `-o store=URL`.
    #[arg(long)]
    store: Option<StoreUrl>,
    /// Whether the first volume of a store may make the store.
    #[arg(long, value_enum, default_value_t)]
    open_mode: Mode,
    /// A name of this host that no other has and that every boot of it keeps; without it, each boot is a
    /// host of its own, and what an earlier one held in a store of several hosts needs a lease that runs out.
    #[arg(long)]
    node: Option<NodeId>,
    /// Seconds that a call may take which changes something; Docker gives up after 120. A host that died is waited
    /// out in 77, where the lease of the store is not set otherwise.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=110))]
    deadline: u64,
    /// How much is logged.
    #[arg(long, value_enum, default_value_t)]
    log: Level,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Mode {
    /// A store must be there.
    #[default]
    Existing,
    /// The first volume makes it.
    CreateIfMissing,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Level {
    Warn,
    #[default]
    Info,
    Debug,
}

/// How long a call may take that only looks; Docker gives up after a minute.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// The work is the stores', on threads of their own.
const THREADS: usize = 2;

/// How long threads that hang in a dead store are waited for at the end.
const END_LIMIT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match run(Program::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("docker-volume-plugin: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let runtime = runtime.map_err(|e| cause(e, "start", "the runtime"))?;
    let done = match command {
        Command::Serve(arguments) => serve(arguments, &runtime),
        Command::Claims { socket } => runtime.block_on(claims(socket)),
        Command::Release { socket, volume, id } => {
            let request = json!({ "Name": volume, "ID": id });
            runtime.block_on(client::call(&socket, "VolumeDriver.Unmount", &request)).map(drop)
        }
        Command::Vouch { socket, volume, attachment, epoch, reason } => {
            let request =
                json!({ "Name": volume, "Attachment": attachment, "Epoch": epoch, "Reason": reason });
            runtime.block_on(client::call(&socket, "Persist.Vouch", &request)).map(drop)
        }
    };
    runtime.shutdown_timeout(END_LIMIT);
    done
}

fn serve(arguments: Serve, runtime: &tokio::runtime::Runtime) -> Result<()> {
    log(arguments.log);
    let host = persist::this_host()?;
    let node = match arguments.node {
        Some(name) => Node::new(name, host.boot),
        None => host,
    };
    let settings = Settings {
        default_store: arguments.store,
        open_mode: match arguments.open_mode {
            Mode::Existing => OpenMode::Existing,
            Mode::CreateIfMissing => OpenMode::CreateIfMissing,
        },
        node: node.clone(),
        change_limit: Duration::from_secs(arguments.deadline),
        look_limit: LOOK_LIMIT.min(Duration::from_secs(arguments.deadline)),
    };
    let known = Known::open(&arguments.state)?;
    let server = Server::bind(&arguments.socket)?;
    runtime.block_on(async {
        let hear = |kind| signal(kind).map_err(|e| cause(e, "hear", "signals"));
        let (mut terminate, mut interrupt) = (hear(SignalKind::terminate())?, hear(SignalKind::interrupt())?);
        let plugin = Plugin::new(settings, known, stores::facade(node, arguments.state, read_variable));
        plugin.take_up();
        let stop = async {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        };
        server.serve(plugin, stop).await
    })
}

fn read_variable(name: &'static str) -> Option<OsString> {
    std::env::var_os(name)
}

async fn claims(socket: PathBuf) -> Result<()> {
    let list = client::call(&socket, "VolumeDriver.List", &json!({})).await?;
    for volume in list["Volumes"].as_array().into_iter().flatten() {
        let name = volume["Name"].as_str().unwrap_or_default();
        match client::call(&socket, "VolumeDriver.Get", &json!({ "Name": name })).await {
            Ok(got) => print_claims(name, &got["Volume"]["Status"]["holders"]),
            Err(error) => eprintln!("{name}: {error}"),
        }
    }
    Ok(())
}

fn print_claims(volume: &str, holders: &Value) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for holder in holders.as_array().into_iter().flatten() {
        let fields = ["id", "since", "node", "access", "attachment", "epoch", "lease"];
        let fields = fields.map(|key| text(&holder[key]));
        println!("{volume} {}", fields.join(" "));
    }
}

fn log(level: Level) {
    let level = match level {
        Level::Warn => tracing::Level::WARN,
        Level::Info => tracing::Level::INFO,
        Level::Debug => tracing::Level::DEBUG,
    };
    tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(std::io::stderr).init();
}
