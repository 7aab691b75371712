//! Runs the simulation for as many seeds as are asked for.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::process::ExitCode;
use std::time::Instant;

use arras_simulation::{OPERATIONS, Setup, explain, generate, run};
use clap::Parser;

/// Simulates clients, leader, helper and collectors with everything that can go wrong, and compares what comes of it
/// with a plain model.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Operations of each.
    #[arg(long, default_value_t = OPERATIONS)]
    operations: usize,
    /// Shows the roles' log.
    #[arg(long)]
    log: bool,
    /// Goes on after a finding.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.log {
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).without_time().init();
    }
    let began = Instant::now();
    let mut findings = 0_u64;
    let (mut operations, mut releases, mut reports, mut deliveries, mut trace) = (0_u64, 0, 0, 0, 0);
    for seed in arguments.seed..arguments.seed + arguments.seeds {
        let list = generate(seed, arguments.operations);
        match run(seed, &list, Setup::new(seed)) {
            Ok(passed) => {
                operations += list.len() as u64;
                releases += passed.releases;
                reports += passed.reports;
                deliveries += passed.deliveries;
                trace ^= passed.trace;
            }
            Err(wrong) => {
                findings += 1;
                println!("{}", explain(seed, &list, Setup::new(seed), &wrong));
                if !arguments.keep_going {
                    return ExitCode::FAILURE;
                }
            }
        }
        let done = seed + 1 - arguments.seed;
        if done.is_multiple_of(500) || done == arguments.seeds {
            println!(
                "{done} seeds: {operations} operations, {deliveries} requests, {releases} releases of {reports} \
                 reports, {findings} findings, {} s; trace {trace:016x}",
                began.elapsed().as_secs()
            );
        }
    }
    if findings == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
