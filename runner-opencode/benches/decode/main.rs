//! What an event costs that is read from the socket: CPU time of the reading process alone, ours against the official
//! JavaScript SDK, from one server on loopback that sends the same recorded events to both.
//!
//! This process is the server and starts the readers: ours is this program again, the SDK's a few lines of JavaScript.
//! Each reader takes its own CPU time from just before it opens the stream until the stream has ended, so that starting
//! Node costs the SDK nothing. The runs of the two are interleaved and change their order. Two ways of sending are
//! measured: a chunk for each event, which is how OpenCode sends, and the same bytes in large chunks.
//!
//! `cargo xtask bench decode [--json]`

mod read;
mod recorded;
#[path = "../../../runner-compat/benches/start/report.rs"]
mod report;
mod sdk;
mod serve;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::read::Reading;
use crate::recorded::Recorded;
use crate::report::{Report, median};
use crate::sdk::Sdk;
use crate::serve::{Server, Way};

#[derive(Debug, Parser)]
struct Options {
    /// Events a run.
    #[arg(long, default_value_t = 200_000)]
    events: u32,
    /// Runs of each reader, for each way of sending.
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Where npm has installed the SDK.
    #[arg(long, value_name = "DIRECTORY")]
    sdk: Option<PathBuf>,
    /// One JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Be a reader: read this server's stream, print the figures.
    #[arg(long, hide = true, value_name = "URL")]
    read: Option<String>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    if let Some(url) = &options.read {
        return read::ours(url);
    }
    if options.runs == 0 || options.events == 0 {
        return Err("--runs and --events take at least 1".into());
    }
    let sdk = Sdk::find(options.sdk.as_deref())?;
    let recorded = Recorded::events(options.events)?;
    let machine = format!("{}; {}; {}", machine(), sdk.description, recorded.description());
    let mut report = Report::new("decode", &machine);
    for way in [Way::EachEvent, Way::Large] {
        measure(&options, &sdk, &recorded, way)?.add_to(&mut report, way, options.runs);
    }
    report.print(options.json);
    Ok(())
}

/// CPU time per event, run by run.
#[derive(Default)]
struct Measured {
    ours: Vec<Duration>,
    sdk: Vec<Duration>,
}

fn measure(options: &Options, sdk: &Sdk, recorded: &Recorded, way: Way) -> Result<Measured, Failure> {
    let server = Server::start(&recorded.text, way)?;
    let ours =
        || Reading::of_command(read::command(&server.url)?)?.per_event(recorded.delivered, recorded.count);
    let theirs = || Reading::of_command(sdk.command(&server.url))?.per_event(recorded.count, recorded.count);
    let mut measured = Measured::default();
    // One of each that does not count.
    ours()?;
    theirs()?;
    for run in 0..options.runs {
        for turn in 0..2 {
            if (run + turn) % 2 == 0 {
                measured.ours.push(ours()?);
            } else {
                measured.sdk.push(theirs()?);
            }
        }
    }
    Ok(measured)
}

impl Measured {
    fn add_to(&self, report: &mut Report, way: Way, n: u32) {
        let name = |metric: &str| format!("{metric}{}", way.suffix());
        let (ours, sdk) = (median(&self.ours).as_secs_f64(), median(&self.sdk).as_secs_f64());
        report.add(&name("sdk_over_ours"), sdk / ours, "ratio", "JavaScript SDK", n);
        report.add(&name("ours_cpu"), ours * 1e9, "ns/event", way.description(), n);
        report.add(&name("sdk_cpu"), sdk * 1e9, "ns/event", way.description(), n);
        let worst = self.ours.iter().max().map_or(0.0, Duration::as_secs_f64);
        report.add(&name("ours_cpu_max"), worst * 1e9, "ns/event", "", n);
    }
}

fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cpus} CPUs, {} {}", std::env::consts::OS, std::env::consts::ARCH)
}
