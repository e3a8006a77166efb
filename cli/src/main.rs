//! The command `tourbillon`: thin. It reads arguments, calls the simulator, prints.
//!
//! Exit codes: 0 every guarantee held, 1 one was violated, 2 the command could not be carried out.

mod args;
mod figures;
mod output;
mod sim;
mod table;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command, SimCommand};
use sim::Verdict;

fn main() -> ExitCode {
    let Args { command: Command::Sim(command) } = Args::parse();
    match run(command) {
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
        SimCommand::Twice(args) => sim::twice(&args),
        SimCommand::Table(args) => table::run(&args),
        SimCommand::Figures(args) => figures::run(&args),
    }
}
