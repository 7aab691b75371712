#![allow(clippy::unwrap_used)]

use std::time::Duration;

use clap::Parser;

use super::source::stricter;
use super::*;
use crate::tasks::TaskFile;

/// 2026-09-21.
const NOW: u64 = 1_790_000_000;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn planned(line: &[&str]) -> Result<String, Failure> {
    let line = Line::try_parse_from(std::iter::once("plan").chain(line.iter().copied())).unwrap();
    let mut out = Vec::new();
    run(&line.args, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW), &mut out)
        .map(|_| String::from_utf8(out).unwrap())
}

const CAMPAIGNS: [&str; 6] =
    ["--campaign", "spring=7000", "--campaign", "summer=900", "--campaign", "niche=30"];

fn with(more: &[&str]) -> Vec<String> {
    CAMPAIGNS.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

fn plan(more: &[&str]) -> String {
    let line = with(more);
    planned(&line.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
}

/// What people and scripts read stays as it is unless somebody means to change it.
#[test]
fn the_text_is_golden() {
    let counts = plan(&["--not-attributed", "12000", "--buckets", "16"]);
    assert_eq!(counts, include_str!("golden.txt"), "{counts}");
    let value = ["--max-value", "1000", "--unit", "0.1", "--average-value", "45.50", "--currency", "EUR"];
    let solved = plan(&[&value[..], &["--target-error", "10%"]].concat());
    assert_eq!(solved, include_str!("golden_target.txt"), "{solved}");
}

#[test]
fn json_says_what_the_text_says() {
    let json: serde_json::Value =
        serde_json::from_str(&plan(&["--buckets", "16", "--not-attributed", "12000", "--json"])).unwrap();
    assert_eq!((&json["version"], &json["recommended"]), (&1.into(), &"day".into()), "{json}");
    let day = &json["windows"][1];
    assert_eq!((&day["window"], &day["windows_carried"]), (&"day".into(), &7.into()));
    assert_eq!(day["counts"]["scale"], "2/1");
    assert_eq!(day["counts"]["half_width"], "8");
    assert_eq!(day["campaigns"][0]["relative_error"], "0.008000");
    assert_eq!(day["week"]["half_width_of_sum"], "21");
    assert!(json["windows"][0]["week"]["half_width_of_sum"].is_null());
    let steps = json["advice"].as_array().unwrap().last().unwrap()["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["do"] == "longer_window" && step["weeks"] == 2), "{steps:?}");
}

#[test]
fn a_chart_is_the_same_each_time_and_can_be_read_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.svg");
    // Names are others' text; the chart is XML.
    let line = with(&["--campaign", "<b>&\u{202e}\u{ffff}\"=400", "--svg", path.to_str().unwrap()]);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    planned(&line).unwrap();
    let first = fs::read_to_string(&path).unwrap();
    planned(&line).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), first);
    assert!(first.starts_with("<svg role=\"img\" aria-labelledby=\"plan-title plan-description\""));
    assert!(
        first.contains("<title id=\"plan-title\">") && first.contains("the budget carries 10 of 168 windows")
    );
    for text in ["spring", "summer", "useful up to 25%", "&lt;b&gt;&amp; ", "10,000", "week"] {
        assert!(first.contains(text), "{text}");
    }
    assert!(!first.contains("<b>") && !first.contains(['\u{202e}', '\u{ffff}']));
    assert_eq!(first.matches("<circle").count(), 3, "one dot for each window");
    let nowhere = folder.path().join("no/plan.svg");
    let error = planned(&[&line[..line.len() - 1], &[nowhere.to_str().unwrap()]].concat()).unwrap_err();
    assert!(error.to_string().starts_with("--svg "), "{error}");
}

/// The label of the line of what is useful stood on the last dot and its name where that was near the right edge.
#[test]
fn the_label_of_a_chart_keeps_clear_of_dots() {
    // Of a letter, in pixels; at that size they are narrower.
    const LETTER: i32 = 8;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.svg");
    let numbers = |svg: &str, before: &str| -> Vec<i32> {
        let found = svg.split(before).skip(1);
        found.map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
    };
    for campaigns in [&["spring=7000", "niche=30"][..], &["one=1"], &["all=900000"]] {
        let mut line = vec!["--buckets", "16", "--svg", path.to_str().unwrap()];
        line.extend(campaigns.iter().flat_map(|campaign| ["--campaign", campaign]));
        planned(&line).unwrap();
        let svg = fs::read_to_string(&path).unwrap();
        let dots = numbers(&svg, "<circle cx=\"");
        let label = "useful up to 25%";
        let (head, _) = svg.split_once(label).unwrap();
        // Text is flushed right there.
        let end = numbers(&head[head.rfind("<text").unwrap()..], "<text x=\"")[0];
        let last = dots.iter().max().unwrap() + i32::try_from("hour".len()).unwrap() * LETTER;
        assert_eq!(dots.len(), 3);
        assert!(last < end - i32::try_from(label.len()).unwrap() * 15 / 2, "{campaigns:?}: {last}, {end}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_option() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let list = file("list.csv", "campaign;conversions\nspring;3\n");
    let value_task = include_str!("../../../examples/conversions.toml")
        .replace("type = \"histogram\", length = 16", "type = \"l1-bound-sum\", length = 16, max_value = 50");
    let value_task = file("value.toml", &value_task);
    let missing = folder.path().join("missing.toml");
    let missing = missing.to_str().unwrap();
    for (more, option, word) in [
        (&["--buckets", "3"][..], "--buckets: ", "take more buckets"),
        (&["--buckets", "5000"], "--buckets: ", "5000"),
        (&["--epsilon", "11"], "--epsilon", "most allowed is 10"),
        (&["--contributions", "1001"], "--epsilon, --contributions", "most allowed is 1000"),
        (&["--campaign", "spring=3"], "--campaign: ", "twice"),
        (&["--campaigns", &list], "--campaigns /", "first line must name"),
        (&["--max-value", "100"], "--max-value, --average-value: ", "on average"),
        (&["--max-value", "0", "--average-value", "1"], "--max-value: ", "max_value"),
        (&["--task", &value_task], "--task", "--value-task"),
        (&["--task", missing], "--task /", "No such file"),
        (&["--config", missing], "--config /", "missing.toml"),
        (&["--min-batch", "9"], "--min-batch: ", "least allowed is 10"),
        (&["--source", "two words"], "--source: ", "without spaces"),
        (&["--value-task", &value_task, "--source", "other.example"], "--value-task /", "by itself"),
        (&["--target-error", "10%", "--value-epsilon", "1"], "--value-epsilon: ", "give --epsilon, too"),
    ] {
        let line = with(more);
        let error = planned(&line.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_err();
        assert!(matches!(error, Failure::Usage(_)), "{more:?}");
        let text = error.to_string();
        assert!(text.starts_with(option) && text.contains(word), "{more:?}: {text}");
    }
    assert!(planned(&[]).unwrap_err().to_string().starts_with("--campaign: at least one"));
    for wrong in ["spring", "spring=", "=3", "spring=1.5", "spring=-3"] {
        assert!(campaign(wrong).unwrap_err().contains("such as spring=700"), "{wrong}");
    }
    assert_eq!(campaign("a=b=3"), Ok(("a=b".to_owned(), 3)));
}

#[test]
fn options_come_before_the_task_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("task.toml");
    let example =
        include_str!("../../../examples/conversions.toml").replace("epsilon = \"1\"", "epsilon = \"0.5\"");
    fs::write(&path, example.replace("contributions = 1", "contributions = 2")).unwrap();
    let task = ["--task", path.to_str().unwrap()];
    let json = |more: &[&str]| -> serde_json::Value {
        serde_json::from_str(&plan(&[&task[..], more, &["--json"]].concat())).unwrap()
    };
    let of_file = json(&[]);
    assert_eq!((&of_file["buckets"], &of_file["contributions"]), (&16.into(), &2.into()));
    assert_eq!(of_file["windows"][1]["counts"]["epsilon"], "0.5");
    assert_eq!(of_file["budget_source"], "example.com");
    let asked = json(&["--epsilon", "0.25", "--contributions", "3", "--threshold", "17", "--cap", "2"]);
    assert_eq!(asked["windows"][1]["counts"]["epsilon"], "0.25");
    assert_eq!(asked["windows"][1]["windows_carried"], 2, "2 of 3 * 0.25");
    assert_eq!(asked["windows"][1]["threshold"], "17");
}

/// A configuration may limit single tasks beside the cap; a plan that knows the task knows its limit.
#[test]
fn the_limit_of_the_task_comes_from_the_configuration() {
    let source = |more: &str| -> ConfiguredSource {
        let start = "name = \"shop.example\"\nepoch_start = \"2026-01-05\"\ncap = \"10\"\n";
        toml::from_str(&format!("{start}{more}")).unwrap()
    };
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/conversions.toml"));
    let task = Measured::read("--task", path).unwrap();
    assert_eq!(task_cap(None, Some(&task)), None);
    assert_eq!(task_cap(Some(&source("")), Some(&task)), None);
    let each = source("task_cap = \"3\"");
    assert_eq!(
        (task_cap(Some(&each), Some(&task)), task_cap(Some(&each), None)),
        (Some(3_000_000), Some(3_000_000))
    );
    let own = source(&format!("task_cap = \"3\"\n[task_caps]\n{} = \"2.5\"", task.id));
    assert_eq!(
        (task_cap(Some(&own), Some(&task)), task_cap(Some(&own), None)),
        (Some(2_500_000), Some(3_000_000))
    );
}

/// Leader and helper in one process list a source twice; the plan took the first of them, whatever the other allowed.
#[test]
fn of_two_roles_the_stricter_limits_count() {
    let source = |more: &str| -> ConfiguredSource {
        let start = "name = \"shop.example\"\nepoch_start = \"2026-01-05\"\n";
        toml::from_str(&format!("{start}{more}")).unwrap()
    };
    let id = Measured::read(
        "--task",
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/conversions.toml")),
    );
    let id = id.unwrap().id;
    let one = source(&format!("cap = \"10\"\ntask_cap = \"3\"\n[task_caps]\n{id} = \"2\""));
    let other = source(&format!("cap = \"8\"\n[task_caps]\n{id} = \"1\""));
    for both in [stricter(&one, &other), stricter(&other, &one)] {
        let caps = [Some(both.cap), both.task_cap, both.task_caps.get(&id).copied()];
        assert_eq!(
            caps.map(|cap| cap.map(MicroEpsilon::get)),
            [Some(8_000_000), Some(3_000_000), Some(1_000_000)]
        );
    }
}

#[test]
fn an_epsilon_that_is_given_stays() {
    let solved: serde_json::Value =
        serde_json::from_str(&plan(&["--target-error", "10%", "--epsilon", "0.5", "--json"])).unwrap();
    assert_eq!((&solved["target"], &solved["solved_for_epsilon"]), (&true.into(), &false.into()));
    for window in solved["windows"].as_array().unwrap() {
        assert_eq!(window["counts"]["epsilon"], "0.5");
    }
}

/// What values are worth was taken and ignored if no values were planned.
#[test]
fn what_is_of_values_alone_is_refused_without_values() {
    for (option, value) in
        [("--average-value", "20"), ("--unit", "1"), ("--currency", "EUR"), ("--value-epsilon", "1")]
    {
        let line = with(&[option, value]);
        let error = planned(&line.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_err();
        assert_eq!(error.to_string(), format!("{option}: needs --max-value or --value-task to plan values"));
    }
    let values = plan(&["--max-value", "100", "--average-value", "20", "--currency", "EUR"]);
    assert!(values.contains("up to 100.00 EUR a report"), "{values}");
}

/// Too few reports for any window were called a budget that is too small, and the smallest batch could not be given.
#[test]
fn too_few_reports_are_no_small_budget() {
    let none = planned(&["--campaign", "a=0"]).unwrap();
    let why = "No window gets enough reports to be released: 0 reports a week, and a batch needs 10.\n";
    assert!(none.contains(why) && !none.contains("No windows are all carried"), "{none}");
    // Useful if it were released, so a week was proposed.
    let few = planned(&["--campaign", "a=99", "--min-batch", "100", "--cap", "1000"]).unwrap();
    assert!(few.contains("No window gets enough reports") && !few.contains("Take windows"), "{few}");
    let enough = planned(&["--campaign", "a=100", "--min-batch", "100"]).unwrap();
    assert!(enough.contains("Take windows of a week"), "{enough}");
    let poor = planned(&["--campaign", "a=0", "--cap", "0.5"]).unwrap();
    assert!(poor.contains("No windows are all carried by this budget"), "{poor}");
}

/// With a high threshold the only advice was to wait for weeks.
#[test]
fn a_threshold_that_hides_a_campaign_is_to_be_lowered() {
    let hidden = planned(&["--campaign", "a=100", "--threshold", "500"]).unwrap();
    let advice = hidden.lines().find(|line| line.starts_with("  - lower the threshold to ")).unwrap();
    let number = advice.split(' ').find_map(|word| word.trim_end_matches(',').parse::<u64>().ok()).unwrap();
    let number = number.to_string();
    let shown = planned(&["--campaign", "a=100", "--threshold", &number]).unwrap();
    assert_eq!(shown, planned(&["--campaign", "a=100"]).unwrap(), "it is the default");
    assert!(shown.contains("give useful numbers for 1 of 1 campaign"), "{shown}");
    // Where the threshold is not what hides it, it is not blamed.
    let tiny = planned(&["--campaign", "a=1", "--not-attributed", "100", "--threshold", "500"]).unwrap();
    assert!(!tiny.contains("lower the threshold"), "{tiny}");
}

/// Everything was planned as if windows began with epochs: an advertiser in Berlin read that the budget carries each week, and
/// every other one was refused.
#[test]
fn windows_of_a_time_zone_are_planned_by_its_calendar() {
    let by_hand = plan(&["--cap", "1"]);
    assert!(
        by_hand.contains("windows    begin with epochs") && by_hand.contains("costs 1 of 1 epsilon"),
        "{by_hand}"
    );
    let berlin = plan(&["--cap", "1", "--time-zone", "Europe/Berlin"]);
    assert!(berlin.contains("windows    by the calendar of Europe/Berlin"), "{berlin}");
    assert!(berlin.contains(" 1 of 2 ") && berlin.contains("No windows are all carried"), "{berlin}");
    let json: serde_json::Value =
        serde_json::from_str(&plan(&["--cap", "2", "--time-zone", "Europe/Berlin", "--json"])).unwrap();
    assert_eq!((&json["time_zone"], &json["recommended"]), (&"Europe/Berlin".into(), &"week".into()));
    let week = &json["windows"][2];
    assert_eq!((&week["windows_in_epoch"], &week["windows_carried"]), (&2.into(), &2.into()));
    assert_eq!((&week["charged_to_two_epochs"], &week["epsilon_per_epoch"]), (&true.into(), &"2".into()));
    let wrong = Line::try_parse_from(["plan", "--time-zone", "Berlin"]).unwrap_err().to_string();
    assert!(wrong.contains("--time-zone") && wrong.contains("such as Europe/Berlin"), "{wrong}");
}

/// Windows that nobody releases were recommended to programs, with useful numbers in them.
#[test]
fn nothing_is_recommended_that_is_not_released() {
    let json = |more: &[&str]| -> serde_json::Value {
        let line = [&["--campaign", "a=700", "--json"], more].concat();
        serde_json::from_str(&planned(&line).unwrap()).unwrap()
    };
    let useful = |json: &serde_json::Value| json["windows"][2]["campaigns"][0]["useful"].clone();
    let few = json(&["--min-batch", "1000"]);
    assert!(few["recommended"].is_null() && useful(&few) == false, "{few}");
    let enough = json(&["--min-batch", "700"]);
    assert!(enough["recommended"] == "week" && useful(&enough) == true, "{enough}");
    assert!(json(&["--cap", "0.5"])["recommended"].is_null());
}

/// What a role keeps of a task is called its file, too; it was answered with an error of TOML.
#[test]
fn the_file_that_a_role_keeps_of_a_task_is_as_good_as_its_authors() {
    let folder = tempfile::tempdir().unwrap();
    let text = include_str!("../../../examples/conversions.toml");
    let (task, kept) = TaskFile::parse(text).unwrap().build().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (author, own) = (path("task.toml"), path(&format!("{}.toml", task.id())));
    fs::write(&author, text).unwrap();
    fs::write(&own, toml::to_string(&kept).unwrap()).unwrap();
    assert_eq!(plan(&["--task", &own, "--json"]), plan(&["--task", &author, "--json"]));
    let broken = toml::to_string(&kept).unwrap().replace("configuration = \"", "configuration = \"AA");
    fs::write(&own, broken).unwrap();
    let line = with(&["--task", &own]);
    let error = planned(&line.iter().map(String::as_str).collect::<Vec<_>>()).unwrap_err();
    assert!(error.to_string().starts_with("--task: /"), "{error}");
}

/// A cap of nothing was said to take infinite noise, and other numbers were answered in the words of a parser.
#[test]
fn numbers_out_of_range_are_told_in_words() {
    for (option, value, word) in [
        ("--cap", "0", "nothing is ever released"),
        ("--cap", "much", "no"),
        ("--contributions", "0", "from 1 to 1000"),
        ("--threshold", "99999999999999999999", "below 2^64"),
        ("--not-attributed", "-1", "below 2^64"),
        ("--min-batch", "x", "below 2^64"),
        ("--max-value", "1.5", "below 2^64"),
    ] {
        let error = Line::try_parse_from(["plan", option, value]).unwrap_err().to_string();
        assert!(error.contains(option) && error.contains(word), "{option} {value}: {error}");
        assert!(!error.contains("infinite") && !error.contains("target type"), "{error}");
    }
}

#[test]
fn days_are_a_seventh_of_weeks() {
    let day = planned(&["--campaign", "spring=100", "--per", "day", "--not-attributed", "10"]).unwrap();
    let week = planned(&["--campaign", "spring=700", "--not-attributed", "70"]).unwrap();
    assert_eq!(day, week);
}
