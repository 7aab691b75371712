//! Making a list that fails shorter, so that a person can read it.

use crate::operation::Operation;

/// Runs that one list is worth.
const RUNS_MAX: usize = 1_500;

/// The shortest list that still fails of those that leave out operations of the given one.
pub fn shrink(operations: &[Operation], fails: impl Fn(&[Operation]) -> bool) -> Vec<Operation> {
    let mut shortest = operations.to_vec();
    let mut runs = 0;
    let mut piece = shortest.len().div_ceil(2);
    while piece > 0 {
        let mut from = 0;
        let mut shorter = false;
        while from < shortest.len() && runs < RUNS_MAX {
            let mut without = shortest.clone();
            without.drain(from..(from + piece).min(shortest.len()));
            runs += 1;
            if fails(&without) {
                shortest = without;
                shorter = true;
            } else {
                from += piece;
            }
        }
        if runs >= RUNS_MAX {
            break;
        }
        if !(shorter && piece == 1) {
            piece /= 2;
        }
    }
    shortest
}
