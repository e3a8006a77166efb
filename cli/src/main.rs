//! The command `tourbillon`: thin. It reads arguments, asks a database or calls the simulator, prints.
//!
//! Exit codes: 0 done, and every guarantee held; 1 the answer is no, or one was violated; 2 the command could not be
//! carried out.

mod args;
mod coverage;
mod envelope;
mod exhaust;
mod figures;
mod memory;
mod ops;
mod output;
mod shrink;
mod sim;
mod table;
mod timeline;
mod zoo;

use std::{
    panic,
    process::{self, ExitCode},
};

use clap::Parser;

use args::{Args, Command, SimCommand};
use ops::Answer;
use sim::Verdict;

/// Simulations spend a sixth of their time on the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A reader that has seen enough, such as `head`, is no error: what `println!` would panic with ends the command, with the
/// code of a process that SIGPIPE ended.
fn end_with_the_reader() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let message = info.payload_as_str().unwrap_or_default();
        if message.starts_with("failed printing to stdout") && message.contains("Broken pipe") {
            process::exit(128 + 13);
        }
        before(info);
    }));
}

fn main() -> ExitCode {
    end_with_the_reader();
    let done = match Args::parse().command {
        Command::Sim(command) => run(command),
        Command::Ops(command) => ops::run(command).map(|answer| match answer {
            Answer::Yes => Verdict::Held,
            Answer::No => Verdict::Violated,
        }),
    };
    match done {
        Ok(Verdict::Held) => ExitCode::SUCCESS,
        Ok(Verdict::Violated) => ExitCode::from(1),
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn run(command: SimCommand) -> Result<Verdict, String> {
    match command {
        SimCommand::Run(args) => sim::sweep_seeds(&args),
        SimCommand::Replay(args) => match &args.fault {
            Some(fault) => table::replay(&args, fault),
            None => sim::replay(&args),
        },
        SimCommand::Shrink(args) => shrink::run(&args),
        SimCommand::Twice(args) => sim::twice(&args),
        SimCommand::Table(args) => table::run(&args),
        SimCommand::Envelope(args) => envelope::run(&args),
        SimCommand::Exhaust(args) => exhaust::run(&args),
        SimCommand::Figures(args) => figures::run(&args),
        SimCommand::Zoo(args) => zoo::run(&args),
        SimCommand::Coverage(args) => coverage::run(&args),
    }
}
