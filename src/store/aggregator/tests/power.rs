//! Loss of power at every sync of a leader's and a helper's life; see [`crate::store::power_tests`].

use super::worlds::{helper_life, leader_life, open_helper, open_leader, view_helper, view_leader};
use crate::store::power_tests::cut_power_everywhere;

#[test]
fn a_leader_survives_a_loss_of_power() {
    cut_power_everywhere(open_leader, &leader_life(), view_leader);
}

#[test]
fn a_helper_survives_a_loss_of_power() {
    cut_power_everywhere(open_helper, &helper_life(), view_helper);
}
