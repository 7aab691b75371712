#![allow(clippy::unwrap_used)]

mod faults;

use ring::rand::SystemRandom;

use super::*;
use crate::config::secret::SecretString;
use crate::registry::{AdvertiserId, KeyId, Name, UserId};
use crate::store::{Disk, Faults, FileOp, MemoryDisk};

const NOW: u64 = 1_800_000_000;
const OWN: AdvertiserId = AdvertiserId::from_bytes([1; 12]);
const OTHER: AdvertiserId = AdvertiserId::from_bytes([2; 12]);
const PASSWORD: &str = "correct horse battery";

/// A disk in memory and the access that is on it.
struct Place {
    disk: MemoryDisk,
}

impl Place {
    fn new() -> Self {
        Self { disk: MemoryDisk::new() }
    }

    fn open(&self) -> Access {
        self.open_with(Arc::new(|_: FileOp<'_>| None)).unwrap()
    }

    fn open_with(&self, faults: Arc<dyn Faults>) -> Result<Access, AccessError> {
        self.disk.end_process();
        let (dir, mark) = ("/store".as_ref(), "/mark".as_ref());
        let disk = CollectorDisk::open_on(dir, mark, Disk::in_memory(&self.disk, faults))?;
        Access::open(Arc::new(disk), Arc::new(SystemRandom::new()))
    }
}

fn access() -> Access {
    Place::new().open()
}

fn secret(text: &str) -> SecretString {
    SecretString::new(text)
}

fn password(text: &str) -> Password {
    Password::new(secret(text)).unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn user(access: &Access, email: &str) -> UserInfo {
    access.create_user(OWN, email.parse().unwrap(), &password(PASSWORD), Scope::Read, NOW).unwrap()
}

fn sign_in(access: &Access, email: &str, now: u64) -> Session {
    access.sign_in(email, &secret(PASSWORD), None, now).unwrap()
}

fn is_wrong(outcome: &Result<Session, SignInError>) -> bool {
    matches!(outcome, Err(SignInError::Wrong))
}

#[test]
fn a_key_opens_what_it_is_for_until_it_expires_or_is_revoked() {
    let access = access();
    let (info, key) = access.create_key(OWN, name("report"), Scope::Manage, Some(NOW + 10), NOW).unwrap();
    let who = |now| access.authenticate_key(key.expose(), now).unwrap();
    let expected = Principal { who: Who::Key(info.id), advertiser: Some(OWN), scope: Scope::Manage };
    // The second time without a slow hash.
    assert_eq!((who(NOW), who(NOW + 9)), (Some(expected), Some(expected)));
    assert_eq!(who(NOW + 10), None, "it has expired");
    assert_eq!(access.keys(OWN), std::slice::from_ref(&info));
    assert_eq!(access.keys(OTHER), []);
    assert!(matches!(access.revoke_key(OTHER, info.id, NOW), Err(AccessError::NotFound(_))));
    assert_eq!(who(NOW), Some(expected), "another advertiser cannot revoke it");
    access.revoke_key(OWN, info.id, NOW).unwrap();
    assert_eq!(who(NOW), None, "revoked, although it was seen before");
    assert!(matches!(access.revoke_key(OWN, info.id, NOW), Err(AccessError::NotFound(_))));
    let past = access.create_key(OWN, name("report"), Scope::Read, Some(NOW), NOW);
    assert_eq!(past.unwrap_err().kind(), AccessErrorKind::Invalid);
}

#[test]
fn a_text_that_is_not_quite_a_key_is_none() {
    let access = access();
    let (info, key) = access.create_key(OWN, name("a"), Scope::Read, None, NOW).unwrap();
    let (_, other) = access.create_key(OWN, name("b"), Scope::Read, None, NOW).unwrap();
    let text = key.expose().to_owned();
    let begin = format!("arras_{}_", info.id);
    assert!(text.starts_with(&begin) && text.len() == begin.len() + 43, "{text}");
    let unknown = format!("arras_{}_{}", KeyId::from_bytes([9; 12]), &text[begin.len()..]);
    let swapped = format!("{begin}{}", &other.expose()[begin.len()..]);
    let mut changed = text.clone();
    let last = if changed.pop() == Some('A') { 'E' } else { 'A' };
    changed.push(last);
    // Before it was seen and after, since the two are told apart in different ways.
    for _ in 0..2 {
        for wrong in [
            "",
            "arras_",
            &begin,
            &text[1..],
            &text[..text.len() - 1],
            &format!("{text}A"),
            &unknown,
            &swapped,
            &changed,
            &text.to_uppercase(),
            &format!("arras_{}", "\u{e9}".repeat(40)),
        ] {
            assert_eq!(access.authenticate_key(wrong, NOW).unwrap(), None, "{wrong}");
        }
        assert!(access.authenticate_key(&text, NOW).unwrap().is_some());
    }
    assert!(!format!("{key:?} {access:?} {info:?}").contains(&text[begin.len()..]));
}

#[test]
fn users_of_one_collector_have_emails_of_their_own() {
    let access = access();
    let anna = user(&access, "Anna@Shop.example");
    assert_eq!(anna.email.as_str(), "anna@shop.example");
    let again = access.create_user(
        OTHER,
        "ANNA@shop.example".parse().unwrap(),
        &password(PASSWORD),
        Scope::Admin,
        NOW,
    );
    assert_eq!(again.unwrap_err().kind(), AccessErrorKind::Conflict);
    assert_eq!((access.users(OWN), access.users(OTHER)), (vec![anna.clone()], vec![]));
    assert!(matches!(access.remove_user(OTHER, anna.id, NOW), Err(AccessError::NotFound(_))));
    assert!(matches!(
        access.set_password(OTHER, anna.id, &password(PASSWORD), NOW),
        Err(AccessError::NotFound(_))
    ));
    access.remove_user(OWN, anna.id, NOW).unwrap();
    assert_eq!(access.users(OWN), []);
    // The email is free again.
    user(&access, "anna@shop.example");
}

#[test]
fn who_signs_in_has_a_session_until_it_ends() {
    let access = access();
    let anna = user(&access, "anna@shop.example");
    let session = sign_in(&access, " ANNA@shop.example", NOW);
    let of = |now| access.session(session.token.expose(), now);
    let (principal, view) = of(NOW + 1).unwrap();
    let expected = Principal { who: Who::User(anna.id), advertiser: Some(OWN), scope: Scope::Read };
    assert_eq!((principal, view.user, view.expires), (expected, anna, session.expires));
    assert_ne!(view.csrf, session.token.expose());
    // Used in time, it goes on; and not for longer than a day's work.
    let mut now = NOW + 1;
    while now + IDLE_MAX - 1 < NOW + SESSION_MAX {
        now += IDLE_MAX - 1;
        assert!(of(now).is_some(), "after {} s", now - NOW);
    }
    assert!(of(NOW + SESSION_MAX).is_none());
    assert!(of(NOW + SESSION_MAX - 1).is_some(), "used until then");

    let idle = sign_in(&access, "anna@shop.example", NOW);
    assert!(access.session(idle.token.expose(), NOW + IDLE_MAX).is_none());
    let ended = sign_in(&access, "anna@shop.example", NOW);
    access.sign_out(ended.token.expose()).unwrap();
    assert!(access.session(ended.token.expose(), NOW).is_none());
    access.sign_out(ended.token.expose()).unwrap();
    for wrong in ["", "A", &"A".repeat(43)] {
        assert!(access.session(wrong, NOW).is_none());
    }
    assert!(!format!("{session:?}").contains(session.token.expose()));
}

/// A clock that was ahead for an hour, and was put right: sessions of that hour lasted until it had come again, whether anybody used
/// them or not.
#[test]
fn a_session_of_a_clock_that_was_ahead_is_over() {
    let access = access();
    user(&access, "anna@shop.example");
    let seen = sign_in(&access, "anna@shop.example", NOW);
    let begun = sign_in(&access, "anna@shop.example", NOW + AHEAD_MAX + 1);
    assert!(access.session(seen.token.expose(), NOW + AHEAD_MAX + 1).is_some());
    for over in [&begun, &seen] {
        assert!(access.session(over.token.expose(), NOW).is_none());
        // A step that clocks make every day ends nothing.
        assert!(access.session(over.token.expose(), NOW + 1).is_some());
    }
}

#[test]
fn a_new_password_ends_all_sessions_and_so_does_leaving() {
    let access = access();
    let (anna, bert) = (user(&access, "anna@shop.example"), user(&access, "bert@shop.example"));
    let sessions = [0, 1].map(|n| sign_in(&access, "anna@shop.example", NOW + n));
    let other = sign_in(&access, "bert@shop.example", NOW);
    let new = "another horse battery";
    let change = |current: &str| access.change_password(anna.id, &secret(current), &password(new), NOW);
    assert!(matches!(change("not this one"), Err(SignInError::Wrong)));
    assert!(sessions.iter().all(|session| access.session(session.token.expose(), NOW).is_some()));
    change(PASSWORD).unwrap();
    assert!(sessions.iter().all(|session| access.session(session.token.expose(), NOW).is_none()));
    assert!(access.session(other.token.expose(), NOW).is_some());
    assert!(is_wrong(&access.sign_in("anna@shop.example", &secret(PASSWORD), None, NOW)));
    let anew = access.sign_in("anna@shop.example", &secret(new), None, NOW).unwrap();
    access.set_password(OWN, anna.id, &password(PASSWORD), NOW).unwrap();
    assert!(access.session(anew.token.expose(), NOW).is_none());

    access.remove_user(OWN, bert.id, NOW).unwrap();
    assert!(access.session(other.token.expose(), NOW).is_none());
    assert!(is_wrong(&access.sign_in("bert@shop.example", &secret(PASSWORD), None, NOW)));
    assert!(matches!(
        access.change_password(bert.id, &secret(PASSWORD), &password(new), NOW),
        Err(SignInError::Wrong)
    ));
}

#[test]
fn wrong_passwords_pause_an_account_and_an_email_without_one_alike() {
    let access = access();
    let anna = user(&access, "anna@shop.example");
    let before = sign_in(&access, "anna@shop.example", NOW);
    for email in ["anna@shop.example", "nobody@shop.example", "no email"] {
        for _ in 0..FREE_FAILURES {
            assert!(is_wrong(&access.sign_in(email, &secret("wrong wrong wrong"), None, NOW)), "{email}");
        }
        // The right one is not looked at.
        let paused = access.sign_in(email, &secret(PASSWORD), None, NOW).unwrap_err();
        assert!(matches!(paused, SignInError::Paused { seconds: PAUSE_FIRST }), "{email}: {paused}");
        assert_eq!(
            paused.to_string(),
            "there were too many attempts with this email; try again in 30 seconds"
        );
    }
    // Who is signed in stays; a change of the password that needs the present one has to wait, too.
    assert!(access.session(before.token.expose(), NOW).is_some());
    assert!(matches!(
        access.change_password(anna.id, &secret(PASSWORD), &password(PASSWORD), NOW),
        Err(SignInError::Paused { .. })
    ));
    sign_in(&access, "anna@shop.example", NOW + PAUSE_FIRST);
    // And from then on five are free again.
    for _ in 0..FREE_FAILURES {
        assert!(is_wrong(&access.sign_in(
            "anna@shop.example",
            &secret("wrong wrong wrong"),
            None,
            NOW + PAUSE_FIRST
        )));
    }
    // An administrator's new password ends the pause.
    access.set_password(OWN, anna.id, &password(PASSWORD), NOW).unwrap();
    sign_in(&access, "anna@shop.example", NOW + PAUSE_FIRST);
}

#[test]
fn a_password_that_is_too_long_is_nobodys() {
    let access = access();
    user(&access, "anna@shop.example");
    let long = secret(&"a".repeat(PASSWORD_BYTES_MAX + 1));
    for _ in 0..100 {
        assert!(is_wrong(&access.sign_in("anna@shop.example", &long, None, NOW)));
    }
    sign_in(&access, "anna@shop.example", NOW);
}

#[test]
fn a_user_has_so_many_sessions_and_the_least_used_ends() {
    let access = access();
    user(&access, "anna@shop.example");
    let sessions: Vec<_> =
        (0..SESSIONS_PER_USER_MAX as u64).map(|n| sign_in(&access, "anna@shop.example", NOW + n)).collect();
    let is_there = |n: usize, now| access.session(sessions[n].token.expose(), now).is_some();
    assert!(is_there(0, NOW + 100), "it is used, and the second is not used for longest now");
    sign_in(&access, "anna@shop.example", NOW + 100);
    assert!(is_there(0, NOW + 100) && !is_there(1, NOW + 100) && is_there(2, NOW + 100));
    assert_eq!(access.picture().sessions.len(), SESSIONS_PER_USER_MAX);
    // Those that are over make room, all of them.
    sign_in(&access, "anna@shop.example", NOW + 2 * SESSION_MAX);
    assert_eq!(access.picture().sessions.len(), 1);
}

#[test]
fn limits_of_an_advertiser_are_kept_and_say_what_to_do() {
    let access = access();
    let hashed = access.0.secrets.hash(OWN, b"x", &SystemRandom::new()).unwrap();
    let fill = (0..KEYS_PER_ADVERTISER_MAX).map(|n| {
        let id = KeyId::from_bytes([u8::try_from(n).unwrap(); 12]);
        let info =
            KeyInfo { id, advertiser: OWN, name: name("a"), scope: Scope::Read, created: NOW, expires: None };
        Change::PutKey(Box::new(rows::KeyRow { info, secret: hashed.clone() }))
    });
    access.writer().commit(fill.collect()).unwrap();
    let full = access.create_key(OWN, name("b"), Scope::Read, None, NOW).unwrap_err();
    assert!(full.kind() == AccessErrorKind::Full && full.to_string().contains("revoke some"), "{full}");
    access.create_key(OTHER, name("b"), Scope::Read, None, NOW).unwrap();

    let fill = (0..USERS_PER_ADVERTISER_MAX).map(|n| {
        let info = UserInfo {
            id: UserId::from_bytes([u8::try_from(n).unwrap(); 12]),
            advertiser: OWN,
            email: format!("user{n}@shop.example").parse().unwrap(),
            scope: Scope::Read,
            created: NOW,
            password_set: NOW,
        };
        Change::PutUser(Box::new(rows::UserRow { info, password: hashed.clone() }))
    });
    access.writer().commit(fill.collect()).unwrap();
    let email = || "b@shop.example".parse().unwrap();
    let full = access.create_user(OWN, email(), &password(PASSWORD), Scope::Read, NOW).unwrap_err();
    assert!(full.kind() == AccessErrorKind::Full && full.to_string().contains("remove some"), "{full}");
    access.create_user(OTHER, email(), &password(PASSWORD), Scope::Read, NOW).unwrap();
}

/// Neither the store nor a backup of it lets anybody in. The secret was once looked for from the last underscore of the key on;
/// a secret may end in one, as base64url does now and then, and then nothing was looked for, or a single letter.
#[test]
fn no_secret_is_in_the_rows() {
    let access = access();
    user(&access, "anna@shop.example");
    let session = sign_in(&access, "anna@shop.example", NOW);
    let (_, key) = access.create_key(OWN, name("a"), Scope::Read, None, NOW).unwrap();
    access.authenticate_key(key.expose(), NOW).unwrap();
    let rows = access.0.disk.state().scan_prefix(b"K", None, 100).unwrap();
    assert_eq!(rows.len(), 3);
    let secret = super::keys::parts(key.expose()).unwrap().1;
    assert_eq!(secret.len(), 43);
    for text in [PASSWORD, session.token.expose(), secret] {
        let found = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!rows.iter().any(|(key, value)| found(key) || found(value)));
    }
    // And a largest user fits its row.
    assert!(rows.iter().all(|(_, value)| value.len() < 600));
}

#[test]
fn a_new_token_is_unlike_all_before() {
    let access = access();
    let tokens: std::collections::HashSet<_> =
        (0..100).map(|_| access.new_token().unwrap().expose().to_owned()).collect();
    assert!(tokens.len() == 100 && tokens.iter().all(|token| token.len() == 43));
    assert_ne!(csrf_of("a"), csrf_of("b"));
}

/// An advertiser's administrator sent new passwords and wrong keys on a hundred connections. They took all places of both
/// queues, so that nobody else could sign in, and no other advertiser's program got in whose key was not seen since the start.
#[test]
fn what_one_advertiser_hashes_keeps_nobody_else_out() {
    let access = access();
    let anna = user(&access, "anna@shop.example");
    let other: Email = "olga@other.example".parse().unwrap();
    access.create_user(OTHER, other, &password(PASSWORD), Scope::Read, NOW).unwrap();
    let own_key = access.create_key(OWN, name("a"), Scope::Read, None, NOW).unwrap().1.expose().to_owned();
    let (_, foreign) = access.create_key(OTHER, name("b"), Scope::Read, None, NOW).unwrap();
    let end = if own_key.ends_with('A') { "E" } else { "A" };
    let wrong = format!("{}{end}", &own_key[..own_key.len() - 1]);
    let refused = std::sync::atomic::AtomicUsize::new(0);
    let many = HASHES_AT_ONCE + HASHES_WAITING_MAX;
    std::thread::scope(|scope| {
        let held: Vec<_> = [&access.0.passwords, &access.0.secrets]
            .iter()
            .flat_map(|hasher| (0..HASHES_AT_ONCE).map(|_| hasher.turn().unwrap()))
            .collect();
        for _ in 0..many {
            scope.spawn(|| {
                if access.set_password(OWN, anna.id, &password(PASSWORD), NOW).is_err() {
                    refused.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
            });
            scope.spawn(|| {
                if access.authenticate_key(&wrong, NOW).is_err() {
                    refused.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
            });
        }
        let waiting = || access.0.passwords.waiting() + access.0.secrets.waiting();
        while waiting() + refused.load(std::sync::atomic::Ordering::SeqCst) < 2 * many {
            std::thread::yield_now();
        }
        let signs_in =
            scope.spawn(|| access.sign_in("olga@other.example", &secret(PASSWORD), None, NOW).is_ok());
        let program = scope.spawn(|| matches!(access.authenticate_key(foreign.expose(), NOW), Ok(Some(_))));
        while !signs_in.is_finished() && !program.is_finished() && waiting() < 2 * HASHES_PER_ADVERTISER + 2 {
            std::thread::yield_now();
        }
        drop(held);
        assert!(signs_in.join().unwrap() && program.join().unwrap());
    });
    assert_eq!(refused.into_inner(), 2 * (many - HASHES_PER_ADVERTISER));
}

/// The hash of a new user's password was made before the email was looked at: a refused request cost as much as one that was not.
#[test]
fn what_is_refused_anyway_costs_no_hash() {
    let access = access();
    user(&access, "anna@shop.example");
    let taken = [&access.0.passwords, &access.0.secrets]
        .map(|hasher| [(); HASHES_PER_ADVERTISER].map(|()| hasher.places.take(OWN).unwrap()));
    let create = |email: &str| {
        access.create_user(OWN, email.parse().unwrap(), &password(PASSWORD), Scope::Read, NOW).unwrap_err()
    };
    assert_eq!(create("anna@shop.example").kind(), AccessErrorKind::Conflict);
    assert_eq!(create("bert@shop.example").kind(), AccessErrorKind::Busy);
    drop(taken);
    user(&access, "bert@shop.example");
}
