//! Every file operation fails once, in every call that writes.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::store::Fault;

const EIO: i32 = 5;

/// Fails one operation, the one that is that many away; 0 fails none.
struct FailOne {
    left: AtomicUsize,
    late: bool,
}

impl Faults for FailOne {
    fn before(&self, _op: FileOp<'_>) -> Option<Fault> {
        let left = self.left.load(Ordering::SeqCst);
        self.left.store(left.saturating_sub(1), Ordering::SeqCst);
        (left == 1).then_some(if self.late { Fault::Late(EIO) } else { Fault::Errno(EIO) })
    }
}

/// What a user and a key of the setting are, for calls that change them.
struct Made {
    user: UserInfo,
    key: KeyInfo,
    token: String,
}

type Call = fn(&Access, &Made) -> bool;

const CALLS: [(&str, Call); 8] = [
    ("create_key", |access, _| access.create_key(OWN, name("b"), Scope::Read, None, NOW).is_ok()),
    ("revoke_key", |access, made| access.revoke_key(OWN, made.key.id, NOW).is_ok()),
    ("create_user", |access, _| {
        let email = "bert@shop.example".parse().unwrap();
        access.create_user(OWN, email, &password(PASSWORD), Scope::Read, NOW).is_ok()
    }),
    ("set_password", |access, made| {
        access.set_password(OWN, made.user.id, &password("another horse battery"), NOW).is_ok()
    }),
    ("remove_user", |access, made| access.remove_user(OWN, made.user.id, NOW).is_ok()),
    ("sign_in", |access, _| access.sign_in("anna@shop.example", &secret(PASSWORD), None, NOW + 1).is_ok()),
    ("sign_out", |access, made| access.sign_out(&made.token).is_ok()),
    // It goes on although that is not kept, so what it says is of no use here.
    ("session", |access, made| {
        access.session(&made.token, NOW + SEEN_STEP).is_some()
            && access.picture().sessions.values().all(|live| live.row.seen == NOW + SEEN_STEP)
    }),
];

fn make(access: &Access) -> Made {
    let user = user(access, "anna@shop.example");
    let token = sign_in(access, "anna@shop.example", NOW).token.expose().to_owned();
    let (key, _) = access.create_key(OWN, name("a"), Scope::Read, None, NOW).unwrap();
    Made { user, key, token }
}

/// A call that fails has done nothing that anybody sees, and after a restart it is done whole or not at all; one that says that
/// it succeeded is done.
#[test]
fn a_write_that_fails_leaves_it_as_it_was_or_done() {
    for (what, call) in CALLS {
        for late in [false, true] {
            let mut failed = 0;
            for nth in 1.. {
                let place = Place::new();
                let made = make(&place.open());
                let before = place.open().picture().rows();
                let faults = Arc::new(FailOne { left: AtomicUsize::new(0), late });
                let access = place.open_with(faults.clone()).unwrap();
                faults.left.store(nth, Ordering::SeqCst);
                let ok = call(&access, &made);
                let all_worked = faults.left.swap(0, Ordering::SeqCst) > 0;
                let shown = access.picture().rows();
                assert_eq!(shown != before, ok, "{what} {nth}: what failed shows, or what worked does not");
                drop(access);
                let reopened = place.open().picture().rows();
                if ok {
                    assert_eq!(reopened, shown, "{what} {nth}");
                    // Rows are random; that it is whole is seen in what it shows before a restart.
                } else if reopened != before {
                    assert!(late || nth > 1, "{what} {nth}");
                }
                if all_worked {
                    assert!(ok, "{what} fails without a fault");
                    break;
                }
                failed += usize::from(!ok);
            }
            assert!(failed > 1, "{what}: {failed} operations failed; the faults are not where it writes");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Key(bool),
    Revoke(usize),
    User(u8),
    Password(usize),
    Remove(usize),
    SignIn(u8, bool),
    SignOut(usize),
    Use(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<bool>().prop_map(Step::Key),
        any::<usize>().prop_map(Step::Revoke),
        (0..4_u8).prop_map(Step::User),
        any::<usize>().prop_map(Step::Password),
        any::<usize>().prop_map(Step::Remove),
        (0..4_u8, any::<bool>()).prop_map(|(user, right)| Step::SignIn(user, right)),
        any::<usize>().prop_map(Step::SignOut),
        (any::<usize>(), 0..20_000_u64).prop_map(|(session, later)| Step::Use(session, later)),
    ]
}

fn run(access: &Access, steps: &[Step]) {
    let (mut now, mut tokens) = (NOW, Vec::new());
    let nth = |n: usize, len: usize| n % len.max(1);
    for step in steps {
        let (keys, users) = (access.keys(OWN), access.users(OWN));
        match step {
            Step::Key(expires) => {
                access.create_key(OWN, name("a"), Scope::Read, expires.then_some(now + 100), now).unwrap();
            }
            Step::Revoke(n) => {
                if let Some(key) = keys.get(nth(*n, keys.len())) {
                    access.revoke_key(OWN, key.id, now).unwrap();
                }
            }
            Step::User(n) => {
                let email = format!("{n}@shop.example").parse().unwrap();
                let _ = access.create_user(OWN, email, &password(PASSWORD), Scope::Manage, now);
            }
            Step::Password(n) => {
                if let Some(user) = users.get(nth(*n, users.len())) {
                    access.set_password(OWN, user.id, &password(PASSWORD), now).unwrap();
                }
            }
            Step::Remove(n) => {
                if let Some(user) = users.get(nth(*n, users.len())) {
                    access.remove_user(OWN, user.id, now).unwrap();
                }
            }
            Step::SignIn(n, right) => {
                let text = secret(if *right { PASSWORD } else { "wrong wrong wrong" });
                let session = access.sign_in(&format!("{n}@shop.example"), &text, None, now);
                tokens.extend(session.map(|session| session.token.expose().to_owned()));
            }
            Step::SignOut(n) => {
                if let Some(token) = tokens.get(nth(*n, tokens.len())) {
                    access.sign_out(token).unwrap();
                }
            }
            Step::Use(n, later) => {
                now += later;
                if let Some(token) = tokens.get(nth(*n, tokens.len())) {
                    let _ = access.session(token, now);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// What is in memory is what the store holds, after any calls.
    #[test]
    fn the_picture_is_what_a_restart_reads(steps in prop::collection::vec(step(), 1..20)) {
        let place = Place::new();
        let access = place.open();
        run(&access, &steps);
        let shown = access.picture().rows();
        drop(access);
        prop_assert_eq!(place.open().picture().rows(), shown);
    }
}
