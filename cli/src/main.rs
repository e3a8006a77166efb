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

use args::{Args, Command};

fn main() -> ExitCode {
    let Args { command: Command::Sim(command) } = Args::parse();
    match sim::run(command) {
        Ok(sim::Verdict::Held) => ExitCode::SUCCESS,
        Ok(sim::Verdict::Violated) => ExitCode::from(1),
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}
