//! Reports made beforehand, as requests that are ready to be sent.

use arras_protocol::codec::Encode as _;
use arras_protocol::messages::HpkeConfig;
use arras_protocol::report::ReportMaker;
use arras_protocol::task::Task;
use arras_protocol::vdaf::Measurement;
use bytes::Bytes;
use rayon::prelude::*;

use crate::cli::Failure;
use crate::tasks::author::VdafChoice;

/// An upload request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) body: Bytes,
    pub(super) reports: u32,
}

/// What the reports say, and of when they are.
pub(super) struct Wanted {
    pub(super) vdaf: VdafChoice,
    pub(super) reports: usize,
    pub(super) per_request: usize,
    /// POSIX seconds of the first.
    pub(super) from: u64,
    /// Over how many seconds they are spread, in the order in which they are sent.
    pub(super) over: u64,
}

/// The measurement of the n-th report: every cell in turn.
pub fn measurement(vdaf: VdafChoice, n: usize) -> Measurement {
    match vdaf {
        VdafChoice::Count {} => Measurement::Count(n.is_multiple_of(2)),
        // A cell's number is below the length, which is a u32.
        VdafChoice::Histogram { length } => {
            Measurement::Bucket(u32::try_from(n % length as usize).unwrap_or(0))
        }
        VdafChoice::L1BoundSum { length, max_value } => {
            let mut cells = vec![0; length as usize];
            cells[n % length as usize] = n as u64 % (max_value + 1);
            Measurement::Vector(cells)
        }
    }
}

/// Makes the requests, on all cores.
pub(super) fn make(
    task: &Task,
    leader: &HpkeConfig,
    helper: &HpkeConfig,
    wanted: &Wanted,
) -> Result<Vec<Request>, Failure> {
    let maker = ReportMaker::new(task, leader, helper)?;
    let one = |n: usize, body: &mut Vec<u8>| {
        let time = wanted.from + n as u64 * wanted.over / wanted.reports as u64;
        let report = maker.make(&mut rand::rng(), time, &measurement(wanted.vdaf, n), None)?;
        report.encode(body);
        Ok::<_, Failure>(())
    };
    let firsts: Vec<usize> = (0..wanted.reports).step_by(wanted.per_request).collect();
    firsts
        .into_par_iter()
        .map(|first| {
            let end = wanted.reports.min(first + wanted.per_request);
            let mut body = Vec::new();
            (first..end).try_for_each(|n| one(n, &mut body))?;
            body.shrink_to_fit();
            Ok(Request { body: body.into(), reports: u32::try_from(end - first)? })
        })
        .collect()
}
