//! Decisions as tables.

use serde_json::{Value, json};

use super::*;

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn said_before(text: &str) -> Value {
    json!({"role": "assistant", "content": text})
}

fn called(name: &str) -> Value {
    json!({"role": "assistant", "content": "", "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}]})
}

fn result(text: &str) -> Value {
    json!({"role": "tool", "tool_call_id": "c", "content": text})
}

fn request(messages: &[Value]) -> ChatRequest {
    serde_json::from_value(json!({
        "model": "m",
        "messages": messages,
        "tools": [
            {"type": "function", "function": {"name": "bash"}},
            {"type": "function", "function": {"name": "read"}}],
    }))
    .expect("a chat request")
}

fn plan(messages: &[Value]) -> Plan {
    decide(&request(messages), Manner::default(), |_, _| true).expect("a plan")
}

fn said_of(plan: &Plan) -> String {
    let Reply::Answer(answer) = &plan.reply else { panic!("not an answer: {plan:?}") };
    answer
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Think(text) => format!("<{text}>"),
            Piece::Call { name, arguments, .. } => format!("{name}{arguments}"),
            other => format!("{other:?}"),
        })
        .collect()
}

fn ending_of(plan: &Plan) -> Ending {
    let Reply::Answer(answer) = &plan.reply else { panic!("not an answer: {plan:?}") };
    answer.ending
}

#[test]
fn answers_by_step() {
    let stop = Ending::Finish("stop");
    let calls = Ending::Finish("tool_calls");
    let run_a = r#"bash{"command":"a"}"#;
    let cases: &[(&[Value], &str, Ending)] = &[
        (&[user("hello")], "Hello from the stub model. You said: hello", stop),
        (&[user("[[say: hi]]")], "hi", stop),
        (&[user("[[say: a]] [[say: b]]")], "a\nb", stop),
        (&[user("[[think: hm]]")], "<hm>Hello from the stub model. You said: [[think: hm]]", stop),
        (&[user("[[think: hm]][[say: a]]")], "<hm>a", stop),
        (&[user("[[empty]]")], "", stop),
        (&[user("[[think: hm]][[empty]]")], "<hm>", stop),
        (&[user("[[say: a]][[finish: length]]")], "a", Ending::Finish("length")),
        (&[user("[[run: a]]")], run_a, calls),
        (&[user("[[say: x]][[run: a]]")], &format!("x{run_a}"), calls),
        (&[user("[[run: a]]"), called("bash"), result("out\n")], "Done. The tool answered:\nout", stop),
        (&[user("[[run: a]]"), called("bash"), result("")], "Done. The tool answered:\n", stop),
        (&[user("[[run: a]][[say: fine]]"), called("bash"), result("out")], "fine", stop),
        (&[user("[[run: a]][[run: b]]"), called("bash"), result("x")], r#"bash{"command":"b"}"#, calls),
        (&[user("[[run: a]][[and]][[read: b]]")], &format!(r#"{run_a}read{{"filePath":"b"}}"#), calls),
        (
            &[user("[[run: a]][[and]][[run: b]]"), called("bash"), result("x"), result("y")],
            "Done. The tool answered:\nx\ny",
            stop,
        ),
        // A step beyond the script: the agent called a tool that we did not ask for.
        (&[user("[[say: a]]"), called("bash"), result("x")], "Done. The tool answered:\nx", stop),
        (&[user("[[recall]]")], "I remember nothing before this.", stop),
        (
            &[user("one"), called("bash"), result("out"), said_before("two"), user("[[recall]]")],
            "I remember:\n- user: one\n- called bash\n- assistant: two",
            stop,
        ),
        // An earlier prompt's script is over.
        (
            &[user("[[run: a]]"), said_before("done"), user("hi")],
            "Hello from the stub model. You said: hi",
            stop,
        ),
        (&[user("[[say: a]][[malformed: truncated]]")], "a", Ending::Truncated),
        (&[user("[[malformed: truncated]]")], "", Ending::Truncated),
        (&[user("[[malformed: json]]")], "", Ending::BrokenJson),
        (&[user("[[malformed: error]]")], "", Ending::ErrorChunk),
        (&[user("[[malformed: cut]]")], "", Ending::Cut),
        (&[user("[[say: a]][[hang: stream]]")], "a", Ending::Stall),
        (&[user("[[malformed: arguments]]")], "bash{\"command\": \"echo", calls),
    ];
    for (messages, text, ending) in cases {
        let plan = plan(messages);
        assert_eq!((said_of(&plan).as_str(), ending_of(&plan)), (*text, *ending), "{messages:?}");
    }
}

#[test]
fn replies_that_are_not_answers() {
    let status = |code, retry_after, message: &str| Reply::Status {
        code,
        retry_after,
        error_code: None,
        message: message.to_owned(),
    };
    let cases = [
        ("[[status: 500]]", status(500, None, "scripted status 500")),
        ("[[status: 429 retry-after=7 message=later]]", status(429, Some(7), "later")),
        ("[[malformed: html]]", Reply::Html),
        ("[[hang]]", Reply::HangHeaders),
    ];
    for (prompt, reply) in cases {
        assert_eq!(plan(&[user(prompt)]).reply, reply, "{prompt}");
    }
}

#[test]
fn delays_come_before_the_reply_they_precede() {
    let cases = [
        ("[[delay: 1s]][[delay: 500ms]][[say: a]]", 1_500),
        ("[[delay: 1s]][[status: 500]]", 1_000),
        ("[[wait: 1s]]", 0),
    ];
    for (prompt, millis) in cases {
        assert_eq!(plan(&[user(prompt)]).delay, Duration::from_millis(millis), "{prompt}");
    }
}

#[test]
fn counted_faults_pass_in_order() {
    let prompt = "[[status: 500 times=1]][[malformed: html times=2]][[say: ok]]";
    let mut counts = [0_u32; 2];
    let mut labels = Vec::new();
    for _ in 0..5 {
        let plan = decide(&request(&[user(prompt)]), Manner::default(), |place, times| {
            assert_eq!(place.step, 0);
            let fires = counts[place.item] < times;
            counts[place.item] += u32::from(fires);
            fires
        })
        .expect("a plan");
        labels.push(match plan.reply {
            Reply::Status { .. } => "status",
            Reply::Html => "html",
            _ => "answer",
        });
    }
    assert_eq!(labels, ["status", "html", "html", "answer", "answer"]);
    assert_eq!(
        said_of(&decide(&request(&[user(prompt)]), Manner::default(), |_, _| false).expect("a plan")),
        "ok"
    );
}

#[test]
fn helpers_of_the_agent_are_never_scripted() {
    let titles = "You are a title generator. You output ONLY a thread title.";
    let summaries = "You are a context summarization agent. You are given";
    for system in [titles, summaries] {
        for prompt in ["[[status: 500 times=1]]", "[[nonsense]]", "[[run: ls]]", "hello"] {
            let request = request(&[json!({"role": "system", "content": system}), user(prompt)]);
            let manner = Manner { demo: true };
            let plan = decide(&request, manner, |_, _| panic!("counted")).expect("a plan");
            assert!(!said_of(&plan).contains("[["), "{prompt}");
            assert_eq!(ending_of(&plan), Ending::Finish("stop"), "{prompt}");
        }
    }
}

#[test]
fn a_demo_writes_a_file_for_a_plain_prompt_only() {
    let demo = |messages: &[Value]| {
        said_of(&decide(&request(messages), Manner { demo: true }, |_, _| true).expect("a plan"))
    };
    let first = demo(&[user("it's me")]);
    assert!(first.contains(r"bash") && first.contains("hello.txt"), "{first}");
    assert!(first.contains(r"'it'\\''s me'"), "quoted for the shell, then for JSON: {first}");
    let last = demo(&[user("it's me"), called("bash"), result("it's me\n")]);
    assert!(last.contains("it's me") && !last.contains("bash{"), "{last}");
    assert_eq!(demo(&[user("[[say: a]]")]), "a");

    let toolless =
        serde_json::from_value(json!({"model": "m", "messages": [user("hi")]})).expect("a request");
    let plan = decide(&toolless, Manner { demo: true }, |_, _| true).expect("a plan");
    assert_eq!(said_of(&plan), "Hello from the stub model. You said: hi");
}

#[test]
fn a_missing_tool_is_named() {
    let toolless: ChatRequest =
        serde_json::from_value(json!({"model": "m", "messages": [user("[[run: ls]]")]})).expect("a request");
    let error = decide(&toolless, Manner::default(), |_, _| true).expect_err("no bash");
    assert!(error.to_string().contains("`bash`"), "{error}");
    // `tool` may call what is not there.
    assert_eq!(said_of(&plan(&[user("[[tool: nosuch]]")])), "nosuch{}");
}

#[test]
fn call_ids_differ_within_a_conversation_and_repeat_with_the_request() {
    let ids = |messages: &[Value]| -> Vec<String> {
        let Reply::Answer(answer) = plan(messages).reply else { panic!("not an answer") };
        let ids = answer.pieces.into_iter().filter_map(|piece| match piece {
            Piece::Call { id, .. } => Some(id),
            _ => None,
        });
        ids.collect()
    };
    let prompt = user("[[run: a]][[and]][[run: a]][[run: a]]");
    let first = ids(std::slice::from_ref(&prompt));
    let second = ids(&[prompt.clone(), called("bash"), result("x"), result("y")]);
    let next_turn = ids(&[prompt.clone(), said_before("done"), prompt.clone()]);
    let mut all = [first.clone(), second, next_turn].concat();
    assert_eq!(ids(&[prompt]), first);
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!((all.len(), count), (5, 5));
}

#[test]
fn usage_is_estimated_unless_scripted() {
    let usage = |prompt: &str| match plan(&[user(prompt)]).reply {
        Reply::Answer(answer) => answer.usage,
        other => panic!("{other:?}"),
    };
    assert_eq!(usage("[[say: 12345678]]"), Usage { input: 5, output: 2, cached: 0, reasoning: 0 });
    assert_eq!(
        usage("[[tokens: in=9, cached=4]][[think: 1234]][[say: 1234]]"),
        Usage { input: 9, output: 2, cached: 4, reasoning: 1 }
    );
}

#[test]
fn quotes_are_clipped() {
    let long = "é".repeat(3 * QUOTE);
    let length = said_of(&plan(&[user(&long)])).chars().count();
    assert!(length < QUOTE + 100, "{length}");
}
