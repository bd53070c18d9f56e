//! The grammar as tables.

use super::*;

fn say(text: &str) -> Item {
    Item::Say(text.to_owned())
}

fn call(name: &str, arguments: &str, must_exist: bool) -> Item {
    Item::Tool { name: name.to_owned(), arguments: arguments.to_owned(), must_exist }
}

fn fault(fault: Fault, times: Option<u32>) -> Item {
    Item::Fault { fault, times }
}

fn plain_status(code: u16) -> Fault {
    Fault::Status { code, retry_after: None, error_code: None, message: None }
}

fn step(items: Vec<Item>) -> Step {
    Step { items, ..Step::default() }
}

#[test]
fn each_directive_is_understood() {
    let cases = [
        ("[[say: hi]]", say("hi")),
        (r#"[[say: " hi\n"]]"#, say(" hi\n")),
        ("[[think: hm]]", Item::Think("hm".to_owned())),
        ("[[slow: 200ms x 10]]", Item::Slow { every: Duration::from_millis(200), count: 10 }),
        ("[[wait: 1s]]", Item::Wait(Duration::from_secs(1))),
        ("[[delay: 1s]]", Item::Delay(Duration::from_secs(1))),
        ("[[big: 2MB]]", Item::Big(2_000_000)),
        ("[[recall]]", Item::Recall),
        ("[[output]]", Item::Output),
        ("[[empty]]", Item::Empty),
        ("[[run: echo \"hi\" > a]]", call("bash", r#"{"command":"echo \"hi\" > a"}"#, true)),
        ("[[read: a.txt]]", call("read", r#"{"filePath":"a.txt"}"#, true)),
        (r#"[[tool: bash {"command": "ls"}]]"#, call("bash", r#"{"command": "ls"}"#, false)),
        (r#"[[tool: bash{"a":1}]]"#, call("bash", r#"{"a":1}"#, false)),
        ("[[tool: todoread]]", call("todoread", "{}", false)),
        ("[[malformed: arguments]]", call("bash", "{\"command\": \"echo", false)),
        ("[[malformed: html]]", fault(Fault::Html, None)),
        ("[[malformed: truncated times=1]]", fault(Fault::Truncated, Some(1))),
        ("[[malformed: json]]", fault(Fault::BrokenJson, None)),
        ("[[malformed: error]]", fault(Fault::ErrorChunk, None)),
        ("[[malformed: cut]]", fault(Fault::Cut, None)),
        ("[[hang]]", fault(Fault::HangHeaders, None)),
        ("[[hang: headers]]", fault(Fault::HangHeaders, None)),
        ("[[hang: stream times=2]]", fault(Fault::HangStream, Some(2))),
        ("[[hang: times=2]]", fault(Fault::HangHeaders, Some(2))),
        ("[[status: 500]]", fault(plain_status(500), None)),
        (
            r#"[[status: 429 retry-after=1 times=2 code=quota message="no more"]]"#,
            fault(
                Fault::Status {
                    code: 429,
                    retry_after: Some(1),
                    error_code: Some("quota".to_owned()),
                    message: Some("no more".to_owned()),
                },
                Some(2),
            ),
        ),
    ];
    for (prompt, item) in cases {
        assert_eq!(parse(prompt), Ok(Script { steps: vec![step(vec![item])] }), "{prompt}");
    }
}

#[test]
fn directives_group_into_steps() {
    let run = |command: &str| call("bash", &format!(r#"{{"command":"{command}"}}"#), true);
    let cases = [
        ("no directive", vec![]),
        ("[[say: a]] then [[say: b]]", vec![step(vec![say("a"), say("b")])]),
        ("[[say: a]][[run: ls]]", vec![step(vec![say("a"), run("ls")])]),
        ("[[run: ls]][[say: b]]", vec![step(vec![run("ls")]), step(vec![say("b")])]),
        ("[[run: a]][[run: b]]", vec![step(vec![run("a")]), step(vec![run("b")])]),
        ("[[run: a]][[and]][[run: b]]", vec![step(vec![run("a"), run("b")])]),
        ("[[status: 500 times=1]][[say: a]]", vec![step(vec![fault(plain_status(500), Some(1)), say("a")])]),
        (
            "[[run: a]][[status: 500 times=1]][[output]]",
            vec![step(vec![run("a")]), step(vec![fault(plain_status(500), Some(1)), Item::Output])],
        ),
        ("[[say: a]][[malformed: cut]]", vec![step(vec![say("a"), fault(Fault::Cut, None)])]),
        ("[[think: a]][[empty]]", vec![step(vec![Item::Think("a".to_owned()), Item::Empty])]),
        (
            "[[tokens: in=1]][[run: a]][[tokens: out=2, cached=3, reasoning=4]][[finish: length]]",
            vec![
                Step {
                    items: vec![run("a")],
                    usage: UsageOverride { input: Some(1), ..UsageOverride::default() },
                    finish: None,
                },
                Step {
                    items: vec![],
                    usage: UsageOverride {
                        input: None,
                        output: Some(2),
                        cached: Some(3),
                        reasoning: Some(4),
                    },
                    finish: Some("length"),
                },
            ],
        ),
    ];
    for (prompt, steps) in cases {
        assert_eq!(parse(prompt), Ok(Script { steps }), "{prompt}");
    }
}

#[test]
fn what_cannot_be_followed_is_refused_by_name() {
    let cases = [
        ("[[nonsense]]", "no directive `nonsense`"),
        ("[[Say: x]]", "no directive `Say`"),
        ("[[say]]", "needs a text"),
        ("[[say: ]]", "needs a text"),
        ("[[run:]]", "needs a text"),
        ("[[slow: fast]]", "not a pace"),
        ("[[slow: 1s x 0]]", "at least 1"),
        ("[[slow: 2h x 1]]", "not a time"),
        ("[[big: huge]]", "not a size"),
        ("[[recall: all]]", "takes no argument"),
        ("[[tool:]]", "name of a tool"),
        ("[[tool: {}]]", "name of a tool"),
        ("[[tool: bash [1]]]", "not a JSON object"),
        ("[[tool: bash ls]]", "not a JSON object"),
        ("[[status: abc]]", "not a whole number"),
        ("[[status:]]", "400 to 599"),
        ("[[status: 200]]", "400 to 599"),
        ("[[status: 70000]]", "not a whole number"),
        ("[[status: 500 501]]", "given twice"),
        ("[[status: 500 time=2]]", "no option `time`"),
        ("[[status: 500 times=0]]", "do nothing"),
        ("[[status: 500 times=x]]", "not a whole number"),
        ("[[malformed]]", "one of html"),
        ("[[malformed: xml]]", "one of html"),
        ("[[malformed: arguments times=1]]", "takes no `times=`"),
        ("[[hang: forever]]", "one of headers"),
        ("[[finish: lenght]]", "one of stop"),
        ("[[finish: stop]][[finish: length]]", "given twice"),
        ("[[tokens:]]", "at least one"),
        ("[[tokens: 5]]", "takes in="),
        ("[[tokens: in=-1]]", "not a whole number"),
        ("[[tokens: total=1]]", "no option `total`"),
        ("[[status: 500]][[say: a]]", "never reached"),
        ("[[hang]][[tokens: in=1]]", "never reached"),
        ("[[say: a]][[malformed: cut]][[say: b]]", "never reached"),
        ("[[say: a]][[status: 500]]", "must come before"),
        ("[[say: a]][[malformed: html]]", "must come before"),
        ("[[say: a]][[hang]]", "must come before"),
        ("[[say: a]][[delay: 1s]]", "use `wait`"),
        ("[[say: a]][[empty]]", "not empty"),
        ("[[empty]][[say: a]]", "declared `empty`"),
        ("[[empty]][[run: ls]]", "declared `empty`"),
        ("[[and]]", "between two tool calls"),
        ("[[run: a]][[and]]", "between two tool calls"),
        ("[[run: a]][[and]][[and]][[run: b]]", "between two tool calls"),
        ("[[run: a]][[and]][[say: b]]", "joins tool calls only"),
        ("[[run: a]][[and: b]]", "takes no argument"),
    ];
    for (prompt, problem) in cases {
        let error = parse(prompt).expect_err(prompt);
        assert!(error.to_string().contains(problem), "{prompt}: {error}");
        assert!(error.to_string().contains("`[["), "{prompt}: {error}");
    }
}

#[test]
fn an_error_quotes_only_the_start_of_a_long_directive() {
    let error = parse(&format!("[[bogus: {}]]", "é".repeat(5_000))).expect_err("no such directive");
    assert!(error.to_string().chars().count() < 400);
}
