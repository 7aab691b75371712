#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::SystemTime;

use arras_protocol::task::NAME_BYTES_MAX;
use ring::rand::SystemRandom;
use tempfile::TempDir;

use super::*;
use crate::cli::init;
use crate::config::roles::{BODY_BYTES_MAX, BODY_BYTES_MIN, CLOCK_SKEW_SECONDS_MAX, RELEASE_BYTES_MIN};
use crate::net::auth::TokenHash;

/// A fresh set of configurations; each test spoils something in one of them.
struct Fixture {
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let args = init::Args {
            dir: dir.path().join("a"),
            host: "127.0.0.1".to_owned(),
            ports: vec![1, 2, 3],
            operations_ports: Vec::new(),
            budget_source: "example.com".to_owned(),
        };
        init::make(&args, SystemTime::now(), &SystemRandom::new(), &mut Vec::new()).unwrap();
        Self { dir }
    }

    fn path(&self, role: &str) -> PathBuf {
        self.dir.path().join(format!("a/{role}/{role}.toml"))
    }

    fn text(&self, role: &str) -> String {
        fs::read_to_string(self.path(role)).unwrap()
    }

    fn table(&self, role: &str) -> toml::Table {
        self.text(role).parse().unwrap()
    }

    /// The problems of a role's file after `change`, as lines.
    fn problems(&self, role: &str, change: impl FnOnce(&mut toml::Table)) -> Vec<String> {
        let mut table = self.table(role);
        change(table[role].as_table_mut().unwrap());
        self.found(&table, role)
    }

    fn found(&self, table: &toml::Table, role: &str) -> Vec<String> {
        let config = Config::parse(&table.to_string(), &self.path(role)).unwrap();
        config.problems(SystemTime::now()).iter().map(Problem::to_string).collect()
    }

    /// Asserts that `change` causes exactly one problem, which starts with `key`
    /// and mentions `about`.
    fn one(&self, role: &str, key: &str, about: &str, change: impl FnOnce(&mut toml::Table)) {
        let found = self.problems(role, change);
        assert!(
            found.len() == 1 && found[0].starts_with(key) && found[0].contains(about),
            "expected {key} ... {about}, found {found:#?}"
        );
    }
}

fn set(table: &mut toml::Table, key: &str, value: impl Into<toml::Value>) {
    table.insert(key.to_owned(), value.into());
}

fn entry<'a>(table: &'a mut toml::Table, list: &str) -> &'a mut toml::Table {
    table[list].as_array_mut().unwrap()[0].as_table_mut().unwrap()
}

fn double<'a>(table: &'a mut toml::Table, list: &str) -> &'a mut toml::Table {
    let list = table[list].as_array_mut().unwrap();
    list.push(list[0].clone());
    list.last_mut().unwrap().as_table_mut().unwrap()
}

const ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const OTHER_KEY: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA";

#[test]
fn listening_and_endpoints() {
    let fixture = Fixture::new();
    fixture.one("leader", "error: leader.endpoint", "remove [leader.tls]", |leader| {
        set(leader, "endpoint", "http://127.0.0.1:1/");
    });
    fixture.one("leader", "warning: leader.tls", "proxy", |leader| {
        leader.remove("tls");
    });
    assert!(
        fixture
            .problems("leader", |leader| {
                leader.remove("tls");
                set(leader, "endpoint", "http://127.0.0.1:1/");
            })
            .is_empty()
    );
    for role in ["leader", "helper", "collector"] {
        fixture.one(role, &format!("error: {role}.listen"), "without TLS", |table| {
            table.remove("tls");
            set(table, "listen", "0.0.0.0:1");
        });
    }
    fixture.one("leader", "error: leader.tls.certificate", "host \"localhost\"", |leader| {
        set(leader, "endpoint", "https://localhost:1/");
    });
    fixture.one("leader", "error: leader.helper.endpoint", "own", |leader| {
        let own = leader["endpoint"].clone();
        set(leader["helper"].as_table_mut().unwrap(), "endpoint", own);
    });
}

/// It has no token, so it must not be reachable from elsewhere.
#[test]
fn operations_are_for_this_machine() {
    let fixture = Fixture::new();
    let found = |listen: &str| {
        let mut table = fixture.table("leader");
        let leader = table["leader"]["listen"].as_str().unwrap().to_owned();
        let listen = if listen.is_empty() { leader } else { listen.to_owned() };
        set(table["operations"].as_table_mut().unwrap(), "listen", listen);
        fixture.found(&table, "leader")
    };
    for listen in ["0.0.0.0:9", "192.0.2.7:9", "[::]:9"] {
        let found = found(listen);
        assert!(
            found.len() == 1 && found[0].starts_with("error: operations.listen: other machines"),
            "{found:?}"
        );
    }
    assert!(found("").iter().any(|line| line.contains("is the leader's")));
    for listen in ["127.0.0.1:9", "127.3.2.1:9", "[::1]:9", "127.0.0.1:0"] {
        assert_eq!(found(listen), [""; 0], "{listen}");
    }
    let mut without = fixture.table("leader");
    without.remove("operations");
    assert_eq!(fixture.found(&without, "leader"), [""; 0], "it may be left out");
}

#[test]
fn paths() {
    let fixture = Fixture::new();
    for inside in ["store/watermark", "store/a/b", "store", "x/../store/w", "./store/../store/w"] {
        fixture.one("helper", "error: helper.watermark", "inside the store", |helper| {
            set(helper, "watermark", inside);
        });
    }
    for outside in ["store-watermark", "store/../w"] {
        assert!(fixture.problems("helper", |helper| set(helper, "watermark", outside)).is_empty());
    }
    fixture.one("leader", "error: leader.watermark", "is a folder", |leader| {
        set(leader, "watermark", "tasks");
    });
    fixture.one("leader", "error: leader.store", "is no folder", |leader| {
        set(leader, "store", "leader.toml");
    });
    fixture.one("leader", "error: leader.tasks", "mkdir", |leader| set(leader, "tasks", "missing"));
    #[cfg(unix)]
    {
        let role = fixture.dir.path().join("a/helper");
        fs::create_dir(role.join("store")).unwrap();
        std::os::unix::fs::symlink(role.join("store"), role.join("link")).unwrap();
        fixture.one("helper", "error: helper.watermark", "inside the store", |helper| {
            set(helper, "watermark", "link/w");
        });
    }
}

#[test]
fn keys_and_secrets() {
    let fixture = Fixture::new();
    fixture.one("leader", "error: leader.hpke (id 1)", "placeholder", |leader| {
        set(entry(leader, "hpke"), "private_key", ZEROS);
    });
    fixture.one("leader", "error: leader.hpke (id 1)", "id is used twice", |leader| {
        set(double(leader, "hpke"), "private_key", OTHER_KEY);
    });
    fixture.one("leader", "error: leader.hpke (id 2)", "key is used twice", |leader| {
        set(double(leader, "hpke"), "id", 2);
    });
    fixture.one("collector", "error: collector.hpke", "no key", |collector| {
        set(collector, "hpke", Vec::<toml::Value>::new());
    });
    fixture.one("helper", "error: helper.id_key", "placeholder", |helper| set(helper, "id_key", ZEROS));
    fixture.one("helper", "error: helper.verify_secret (id 1)", "placeholder", |helper| {
        set(entry(helper, "verify_secret"), "secret", ZEROS);
    });
    fixture.one("helper", "error: helper.verify_secret (id 1)", "id is used twice", |helper| {
        set(double(helper, "verify_secret"), "secret", OTHER_KEY);
    });
    fixture.one("helper", "error: helper.verify_secret", "no secret", |helper| {
        set(helper, "verify_secret", Vec::<toml::Value>::new());
    });
    fixture.one("helper", "error: helper.verify_secret (id 1)", "equals id_key", |helper| {
        let secret = entry(helper, "verify_secret")["secret"].clone();
        set(helper, "id_key", secret);
    });
    fixture.one("leader", "error: leader.helper.token", "shorter than 32", |leader| {
        set(leader["helper"].as_table_mut().unwrap(), "token", "swordfish");
    });
}

#[test]
fn certificates() {
    let fixture = Fixture::new();
    let other = Fixture::new();
    let tls = |table: &mut toml::Table, key: &str, value: toml::Value| {
        set(table["tls"].as_table_mut().unwrap(), key, value);
    };
    let foreign = other.table("leader")["leader"]["tls"]["private_key"].clone();
    fixture.one("leader", "error: leader.tls.certificate", "does not belong", |leader| {
        tls(leader, "private_key", foreign);
    });
    fixture.one("leader", "error: leader.tls.certificate", "cannot read", |leader| {
        tls(leader, "certificate", "missing.pem".into());
    });
    fixture.one("leader", "error: leader.tls.certificate", "no certificate found", |leader| {
        tls(leader, "certificate", "leader.toml".into());
    });
    fixture.one("leader", "error: leader.tls.private_key", "no private key found", |leader| {
        tls(leader, "private_key", "-----BEGIN NONSENSE-----".into());
    });
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fixture.one("leader", "error: leader.tls.certificate", "cannot be parsed", |leader| {
        tls(leader, "certificate", broken.into());
    });
    fixture.one("leader", "error: leader.helper.ca", "missing", |leader| {
        leader["helper"].as_table_mut().unwrap().remove("ca");
    });
    fixture.one("collector", "error: collector.leader.ca", "cannot be parsed", |collector| {
        set(collector["leader"].as_table_mut().unwrap(), "ca", broken);
    });
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let key = fixture.table("leader")["leader"]["tls"]["private_key"].as_str().unwrap().to_owned();
        let path = fixture.dir.path().join("a/leader/key.pem");
        fs::write(&path, key).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        fixture.one("leader", "error: leader.tls.private_key", "chmod 600", |leader| {
            tls(leader, "private_key", "key.pem".into());
        });
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(fixture.problems("leader", |leader| tls(leader, "private_key", "key.pem".into())).is_empty());
    }
}

/// Changes the second of two entries, given the first.
type Spoil<'a> = &'a dyn Fn(&mut toml::Table, &toml::Table);

#[test]
fn collectors_and_sources() {
    let fixture = Fixture::new();
    let key = |byte: u8| {
        HpkeConfig { id: 1, public_key: arras_protocol::hpke::PublicKey::from_bytes([byte; 32]) }.to_base64()
    };
    let another = |leader: &mut toml::Table| {
        let second = double(leader, "collector");
        set(second, "name", "second");
        set(second, "token_sha256", TokenHash::of("second").to_string());
        set(second, "hpke_config", key(2));
        set(entry(second, "budget_source"), "name", "other.example");
    };
    assert!(fixture.problems("leader", another).is_empty());
    let cases: [(&str, &str, Spoil<'_>); 4] = [
        ("", "two collectors of this name", &|second, first| set(second, "name", first["name"].clone())),
        ("token_sha256", "the same token", &|second, first| {
            set(second, "token_sha256", first["token_sha256"].clone());
        }),
        ("hpke_config", "the same key", &|second, first| {
            set(second, "hpke_config", first["hpke_config"].clone());
        }),
        ("budget_source", "two budgets", &|second, first| {
            set(second, "budget_source", first["budget_source"].clone());
        }),
    ];
    for (key, about, change) in cases {
        let found = fixture.problems("leader", |leader| {
            another(leader);
            let list = leader["collector"].as_array_mut().unwrap();
            let first = list[0].as_table().unwrap().clone();
            change(list[1].as_table_mut().unwrap(), &first);
        });
        assert!(found.len() == 1 && found[0].contains(key) && found[0].contains(about), "{found:?}");
    }
    fixture.one(
        "helper",
        "error: helper.collector (\"advertiser\").budget_source",
        "two budgets",
        |helper| {
            double(entry(helper, "collector"), "budget_source");
        },
    );
    fixture.one("helper", "error: helper.collector (\"advertiser\").budget_source", "add one", |helper| {
        set(entry(helper, "collector"), "budget_source", Vec::<toml::Value>::new());
    });
    fixture.one(
        "helper",
        "warning: helper.collector (\"advertiser\").budget_source",
        "in the future",
        |helper| {
            set(entry(entry(helper, "collector"), "budget_source"), "epoch_start", "2999-01-07");
        },
    );
    let task = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let caps = |cap: &str, of_task: &str| {
        let caps = (cap.to_owned(), toml::Table::from_iter([(task.to_owned(), of_task.into())]));
        move |helper: &mut toml::Table| {
            let source = entry(entry(helper, "collector"), "budget_source");
            set(source, "task_cap", caps.0.clone());
            set(source, "task_caps", caps.1.clone());
        }
    };
    assert!(fixture.problems("helper", caps("0.5", "0.25")).is_empty());
    for (cap, of_task) in [("1000", "0.25"), ("0.5", "1000")] {
        let key = "warning: helper.collector (\"advertiser\").budget_source";
        fixture.one("helper", key, "refuses nothing", caps(cap, of_task));
    }
    fixture.one("helper", "error: helper.collector", "nobody could collect", |helper| {
        set(helper, "collector", Vec::<toml::Value>::new());
    });
    fixture.one("helper", "error: helper.collector (\"\")", "visible ASCII", |helper| {
        set(entry(helper, "collector"), "name", "");
    });
    // 254 bytes passed here and at `arras init`, and the roles then did not start.
    let (longest, longer) = ("x".repeat(NAME_BYTES_MAX), "x".repeat(NAME_BYTES_MAX + 1));
    for (role, source) in [("leader", true), ("helper", true), ("helper", false), ("collector", true)] {
        let named = |name: &str| {
            fixture.problems(role, |table| {
                let collector = if role == "collector" { table } else { entry(table, "collector") };
                let renamed = if source { entry(collector, "budget_source") } else { collector };
                set(renamed, "name", name);
            })
        };
        assert_eq!(named(&longest), [""; 0]);
        let found = named(&longer);
        assert!(found.len() == 1 && found[0].contains("1 to 253 visible ASCII"), "{found:?}");
    }
    fixture.one("helper", "error: helper.collector (\"advertiser\").hpke_config", "zero", |helper| {
        set(entry(helper, "collector"), "hpke_config", key(0));
    });
    fixture.one("leader", "error: leader.collector (\"advertiser\").token_sha256", "empty token", |leader| {
        set(entry(leader, "collector"), "token_sha256", TokenHash::of("").to_string());
    });
}

/// A configuration of the version before has no key: it says how to make one, instead of which field is missing.
#[test]
fn releases_need_a_signing_key() {
    let fixture = Fixture::new();
    let key = "collector.signing_key";
    fixture.one("collector", &format!("error: {key}"), "arras release new-key", |collector| {
        collector.remove("signing_key");
    });
    fixture.one("collector", &format!("error: {key}"), "placeholder", |collector| {
        set(collector, "signing_key", ZEROS);
    });
    fixture.one("collector", &format!("error: {key}"), "HPKE key", |collector| {
        let hpke = entry(collector, "hpke")["private_key"].clone();
        set(collector, "signing_key", hpke);
    });
    // Keys of before are public ones; a text that is none is named, with its line.
    let mut table = fixture.table("collector");
    let former = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let mut list = |text: &str| {
        let collector = table["collector"].as_table_mut().unwrap();
        set(collector, "former_signing_keys", vec![toml::Value::from(text)]);
        Config::parse(&table.to_string(), &fixture.path("collector"))
    };
    let collector = list(former).unwrap().collector.unwrap();
    assert_eq!(collector.former_signing_keys[0].to_string(), former);
    let error = list("AAAA").unwrap_err().to_string();
    assert!(error.contains("Ed25519 public key"), "{error}");
}

#[test]
fn tokens_are_for_one_receiver() {
    let fixture = Fixture::new();
    fixture.one("leader", "error: leader.collector.token_sha256", "leader.helper.token", |leader| {
        let token = leader["helper"]["token"].as_str().unwrap().to_owned();
        set(entry(leader, "collector"), "token_sha256", TokenHash::of(&token).to_string());
    });
    fixture.one("collector", "error: collector.admin_token_sha256", "collector.leader.token", |collector| {
        let token = collector["leader"]["token"].as_str().unwrap().to_owned();
        set(collector, "admin_token_sha256", TokenHash::of(&token).to_string());
    });
    fixture.one("helper", "error: helper.leader_token_sha256", "empty token", |helper| {
        set(helper, "leader_token_sha256", TokenHash::of("").to_string());
    });
}

#[test]
fn limits() {
    let fixture = Fixture::new();
    for (key, value) in [
        ("job_size", 0),
        ("job_size", 10_001),
        ("max_body_bytes", 1000),
        // Uploads that the store cannot take got 500, however often they were tried.
        ("max_body_bytes", i64::try_from(BODY_BYTES_MAX).unwrap() + 1),
        ("max_store_bytes", 1000),
        ("max_report_age_seconds", 0),
        ("max_clock_skew_seconds", 3601),
    ] {
        fixture.one("leader", &format!("error: leader.limits.{key}"), "", |leader| {
            set(leader, "limits", toml::Table::from_iter([(key.to_owned(), value.into())]));
        });
    }
    for (key, value) in [
        ("max_body_bytes", BODY_BYTES_MIN),
        ("max_body_bytes", BODY_BYTES_MAX),
        ("max_clock_skew_seconds", CLOCK_SKEW_SECONDS_MAX),
    ] {
        let found = fixture.problems("leader", |leader| {
            let value = i64::try_from(value).unwrap();
            set(leader, "limits", toml::Table::from_iter([(key.to_owned(), value.into())]));
        });
        assert_eq!(found, [""; 0], "{key} = {value}");
    }
    let of_releases = |bytes: u64| {
        move |collector: &mut toml::Table| {
            let bytes = i64::try_from(bytes).unwrap();
            set(collector, "limits", toml::Table::from_iter([("max_store_bytes".to_owned(), bytes.into())]));
        }
    };
    fixture.one(
        "collector",
        "error: collector.limits.max_store_bytes",
        "at least",
        of_releases(RELEASE_BYTES_MIN - 1),
    );
    assert_eq!(fixture.problems("collector", of_releases(RELEASE_BYTES_MIN)), [""; 0]);
}

/// One file with all roles in folders of their own.
fn together(fixture: &Fixture) -> toml::Table {
    let mut all = toml::Table::new();
    for role in ["leader", "helper", "collector"] {
        let mut table = fixture.table(role)[role].as_table().unwrap().clone();
        let folder = fixture.dir.path().join("a").join(role);
        let inside = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        for key in ["store", "watermark", "tasks"] {
            set(&mut table, key, inside(key));
        }
        set(table["tls"].as_table_mut().unwrap(), "certificate", inside("certificate.pem"));
        for peer in ["helper", "leader"] {
            if let Some(peer) = table.get_mut(peer) {
                set(peer.as_table_mut().unwrap(), "ca", inside("ca.pem"));
            }
        }
        set(&mut all, role, table);
    }
    all
}

#[test]
fn roles_in_one_process() {
    let fixture = Fixture::new();
    let all = together(&fixture);
    let found = fixture.found(&all, "leader");
    assert!(found.len() == 1 && found[0].starts_with("warning: the file: leader and helper"), "{found:?}");

    let cases: [(&str, &str, &str, &str); 8] = [
        ("store", "store", "error: helper.store", "leader's"),
        ("watermark", "watermark", "error: helper.watermark", "leader's"),
        ("listen", "listen", "error: helper.listen", "leader's"),
        ("hpke", "hpke", "error: helper.hpke", "private key"),
        ("id_key", "id_key", "error: helper.id_key", "leader's"),
        ("store", "watermark", "error: helper.watermark", "the other's store"),
        ("id_key", "leader_token_sha256", "error: helper.leader_token_sha256", "not the SHA-256"),
        ("helper", "leader_endpoint", "error: helper.leader_endpoint", "byte for byte"),
    ];
    for (from, to, key, about) in cases {
        let mut all = all.clone();
        let value = match to {
            "leader_token_sha256" => TokenHash::of("another").to_string().into(),
            "leader_endpoint" => "https://127.0.0.1:1".into(),
            _ => all["leader"][from].clone(),
        };
        set(all["helper"].as_table_mut().unwrap(), to, value);
        let found = fixture.found(&all, "leader");
        assert!(
            found.iter().any(|line| line.starts_with(key) && line.contains(about)),
            "{key} {about}: {found:#?}"
        );
    }

    let mut other_secret = all.clone();
    set(entry(other_secret["helper"].as_table_mut().unwrap(), "verify_secret"), "secret", OTHER_KEY);
    let found = fixture.found(&other_secret, "leader");
    assert!(found.iter().any(|line| line.starts_with("error: helper.verify_secret (id 1)")), "{found:?}");

    let mut other_token = all;
    let token = "x".repeat(40);
    set(other_token["collector"]["leader"].as_table_mut().unwrap(), "token", token);
    let found = fixture.found(&other_token, "leader");
    assert!(found.iter().any(|line| line.starts_with("error: collector.leader.token")), "{found:?}");
}

/// A collector that made tasks with another helper, or under a name that is not its own, would make tasks that no
/// aggregator takes part in, and hear of it window by window.
#[test]
fn tasks_for_advertisers_are_such_as_aggregators_take() {
    const BEHIND_TLS: &str = "warning: collector.advertising.behind_tls";
    let fixture = Fixture::new();
    let advertising = |table: &mut toml::Table, key: &str, value: &str| {
        set(table["advertising"].as_table_mut().unwrap(), key, value);
    };
    let leader = fixture.table("collector")["collector"]["leader"]["endpoint"].as_str().unwrap().to_owned();
    fixture.one("collector", "error: collector.advertising.helper", "the leader's endpoint", |collector| {
        advertising(collector, "helper", &leader);
    });
    fixture.one("collector", "error: collector.advertising.name", "visible ASCII", |collector| {
        advertising(collector, "name", "two words");
    });
    assert!(fixture.problems("collector", |collector| drop(collector.remove("advertising"))).is_empty());
    let behind_tls = |collector: &mut toml::Table, value: bool| {
        set(collector["advertising"].as_table_mut().unwrap(), "behind_tls", value);
    };
    fixture.one("collector", BEHIND_TLS, "true if a proxy on this machine", |collector| {
        collector.remove("tls");
    });
    fixture.one("collector", BEHIND_TLS, "remove it", |collector| behind_tls(collector, true));
    for said in [true, false] {
        let found = fixture.problems("collector", |collector| {
            collector.remove("tls");
            behind_tls(collector, said);
        });
        assert!(found.is_empty(), "{found:?}");
    }
    let all = together(&fixture);
    for (key, value, about) in [
        ("helper", "https://127.0.0.1:9/", "byte for byte"),
        ("name", "other", "calls this collector \"advertiser\""),
    ] {
        let mut all = all.clone();
        advertising(all["collector"].as_table_mut().unwrap(), key, value);
        let found = fixture.found(&all, "leader");
        let wanted = format!("error: collector.advertising.{key}");
        assert!(found.iter().any(|line| line.starts_with(&wanted) && line.contains(about)), "{found:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Fixture::new();
    let path = fixture.path("leader");
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let problems = Config::load(&path).unwrap().problems(SystemTime::now());
        assert!(problems.len() == 1 && problems[0].message.contains("chmod 600"), "{problems:?}");
        let error = Config::load_for_start(&path, SystemTime::now()).unwrap_err();
        assert!(matches!(&error, LoadError::Problems { problems, .. } if problems.len() == 1));
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}

#[test]
fn errors_name_file_line_and_key_but_no_value() {
    let fixture = Fixture::new();
    let path = fixture.path("leader");
    let text = fixture.text("leader");
    let line_of = |text: &str, part: &str| text.lines().position(|line| line.contains(part)).unwrap() + 1;
    let id_key = fixture.table("leader")["leader"]["id_key"].as_str().unwrap().to_owned();
    let token = fixture.table("leader")["leader"]["helper"]["token"].as_str().unwrap().to_owned();
    for (old, new, key, about) in [
        (id_key.clone(), format!("{id_key}!"), "leader.id_key", "32 bytes"),
        (id_key.clone(), id_key[4..].to_owned(), "leader.id_key", "found 29 bytes"),
        (token.clone(), format!("{token} {token}"), "leader.helper.token", "a token is"),
        ("https://127.0.0.1:1/".into(), "http://192.0.2.1/".into(), "leader.endpoint", "loopback"),
        (
            "listen = \"127.0.0.1:1\"".into(),
            "listen = \"localhost\"".into(),
            "leader.listen",
            "socket address",
        ),
        ("cap = \"10\"".into(), "cap = \"ten\"".into(), "leader.collector.budget_source.cap", "decimal"),
        (
            "cap = \"10\"".into(),
            "cap = \"0\"".into(),
            "leader.collector.budget_source.cap",
            "nothing could ever",
        ),
        ("store = ".into(), "stroe = ".into(), "leader.stroe", "unknown field"),
    ] {
        let spoilt = text.replacen(&old, &new, 1);
        let error = Config::parse(&spoilt, &path).unwrap_err();
        let LoadError::Parse { line, key: found, message, .. } = &error else { panic!("{error}") };
        assert_eq!((*line, found.as_str()), (line_of(&spoilt, &new), key), "{error}");
        assert!(message.contains(about), "{error}");
        let shown = error.to_string();
        assert!(shown.starts_with(&format!("{}:{line}: ", path.display())), "{shown}");
        assert!(!shown.contains(&id_key[4..]) && !shown.contains(&token), "a secret is shown: {shown}");
    }
    let missing = Config::parse("[leader]\nlisten = \"127.0.0.1:1\"\n", &path).unwrap_err();
    assert!(missing.to_string().contains("leader: missing field"), "{missing}");
}

#[test]
fn no_role_and_no_file() {
    let problems = Config::parse("", Path::new("x.toml")).unwrap().problems(SystemTime::now());
    assert!(problems.len() == 1 && problems[0].message.contains("no role"), "{problems:?}");
    assert!(matches!(Config::load(Path::new("/nonexistent/x.toml")), Err(LoadError::Read { .. })));
    let dir = tempfile::tempdir().unwrap();
    let large = dir.path().join("large.toml");
    fs::write(&large, " ".repeat(1024 * 1024 + 1)).unwrap();
    assert!(matches!(Config::load(&large), Err(LoadError::TooLarge { .. })));
}

#[test]
fn debug_shows_no_secret() {
    let fixture = Fixture::new();
    for role in ["leader", "helper", "collector"] {
        let shown = format!("{:?}", Config::load(&fixture.path(role)).unwrap());
        let table = fixture.table(role);
        let secret = table[role]["hpke"][0]["private_key"].as_str().unwrap();
        assert!(!shown.contains(secret) && !shown.contains("PRIVATE KEY"));
        for peer in ["helper", "leader"] {
            if let Some(token) = table[role].get(peer).and_then(|peer| peer.get("token")) {
                assert!(!shown.contains(token.as_str().unwrap()));
            }
        }
    }
}
