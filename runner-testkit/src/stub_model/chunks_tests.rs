//! The wire format, checked by putting it together again.

use super::*;

fn head() -> Head {
    Head { id: "id".to_owned(), model: "m".to_owned() }
}

fn answer(pieces: Vec<Piece>, ending: Ending) -> Answer {
    Answer { pieces, ending, usage: Usage { input: 7, output: 3, cached: 1, reasoning: 2 } }
}

fn call(id: &str, arguments: &str) -> Piece {
    Piece::Call { id: id.to_owned(), name: "bash".to_owned(), arguments: arguments.to_owned() }
}

/// The events of a stream and the frames that are not events.
fn read(answer: Answer, pace: Duration) -> (Vec<String>, Vec<Frame>) {
    let (mut events, mut others) = (Vec::new(), Vec::new());
    for frame in frames(answer, head(), pace) {
        match frame {
            Frame::Send(bytes) => {
                let text = String::from_utf8(bytes.to_vec()).expect("text");
                let data = text.strip_prefix("data: ").and_then(|text| text.strip_suffix("\n\n"));
                events.push(data.expect("one event").to_owned());
            }
            other => others.push(other),
        }
    }
    (events, others)
}

fn joined(events: &[String], pointer: &str) -> String {
    events
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .filter_map(|chunk| chunk.pointer(pointer)?.as_str().map(str::to_owned))
        .collect()
}

#[test]
fn a_stream_begins_with_the_role_and_ends_with_reason_usage_and_done() {
    let text = "one two\nthree";
    let (events, others) =
        read(answer(vec![Piece::Text(text.to_owned())], Ending::Finish("stop")), Duration::ZERO);
    assert_eq!(others, []);
    assert_eq!(events.len(), 1 + 3 + 2, "{events:?}");
    let first: Value = serde_json::from_str(&events[0]).expect("JSON");
    assert_eq!(
        first,
        json!({"id": "id", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [
            {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": null}]})
    );
    let last: Value = serde_json::from_str(&events[4]).expect("JSON");
    assert_eq!(last["choices"][0], json!({"index": 0, "delta": {}, "finish_reason": "stop"}));
    assert_eq!(
        last["usage"],
        json!({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 1},
            "completion_tokens_details": {"reasoning_tokens": 2}})
    );
    assert_eq!(events[5], "[DONE]");
    assert_eq!(joined(&events, "/choices/0/delta/content"), text);
}

#[test]
fn thoughts_have_their_own_field() {
    let pieces = vec![Piece::Think("hm hm".to_owned()), Piece::Text("yes".to_owned())];
    let (events, _) = read(answer(pieces, Ending::Finish("stop")), Duration::ZERO);
    assert_eq!(joined(&events, "/choices/0/delta/reasoning_content"), "hm hm");
    assert_eq!(joined(&events, "/choices/0/delta/content"), "yes");
}

#[test]
fn tool_calls_are_split_and_numbered() {
    let arguments = [r#"{"command":"echo 日本語 and more than one chunk"}"#, "{}"];
    let pieces = vec![Piece::Text("first".to_owned()), call("c0", arguments[0]), call("c1", arguments[1])];
    let (events, _) = read(answer(pieces, Ending::Finish("tool_calls")), Duration::ZERO);
    let mut calls = [(String::new(), String::new()), (String::new(), String::new())];
    let mut chunks = 0;
    for event in &events[..events.len() - 1] {
        let chunk: Value = serde_json::from_str(event).expect("JSON");
        let Some(delta) = chunk.pointer("/choices/0/delta/tool_calls/0") else { continue };
        chunks += 1;
        let index = usize::try_from(delta["index"].as_u64().expect("an index")).expect("small");
        calls[index].0.push_str(delta["id"].as_str().unwrap_or_default());
        calls[index].1.push_str(delta["function"]["arguments"].as_str().expect("arguments"));
    }
    assert!(chunks > 4, "split: {chunks}");
    assert_eq!(calls[0], ("c0".to_owned(), arguments[0].to_owned()));
    assert_eq!(calls[1], ("c1".to_owned(), arguments[1].to_owned()));
}

#[test]
fn pauses_are_where_they_belong() {
    let ms = Duration::from_millis;
    let pieces = vec![Piece::Wait(ms(5)), Piece::Ticks { every: ms(7), count: 2 }];
    let (events, others) = read(answer(pieces, Ending::Finish("stop")), ms(3));
    assert_eq!(others, [Frame::Pause(ms(5)), Frame::Pause(ms(7)), Frame::Pause(ms(7))]);
    assert_eq!(joined(&events, "/choices/0/delta/content"), "1/2 2/2 ");

    let (_, others) = read(answer(vec![Piece::Text("a b".to_owned())], Ending::Finish("stop")), ms(3));
    assert_eq!(others, [Frame::Pause(ms(3)), Frame::Pause(ms(3))]);
}

#[test]
fn faulty_endings() {
    let text = || vec![Piece::Text("a".to_owned())];
    let cases = [
        (Ending::Truncated, 2, vec![]),
        (Ending::BrokenJson, 3, vec![]),
        (Ending::ErrorChunk, 3, vec![]),
        (Ending::Cut, 2, vec![Frame::Cut]),
        (Ending::Stall, 2, vec![Frame::Stall]),
    ];
    for (ending, count, frames) in cases {
        let (events, others) = read(answer(text(), ending), Duration::ZERO);
        assert_eq!((events.len(), others), (count, frames), "{ending:?}");
        let all = events.join(" ");
        assert!(!all.contains("[DONE]") && !all.contains("\"finish_reason\":\"stop\""), "{ending:?}");
        let last_is_json = serde_json::from_str::<Value>(&events[count - 1]).is_ok();
        assert_eq!(last_is_json, ending != Ending::BrokenJson, "{ending:?}");
    }
}

#[test]
fn filler_is_exact_and_lazy() {
    for bytes in [1, 11, FILLER_CHUNK, FILLER_CHUNK + 1, 3 * FILLER_CHUNK - 1] {
        assert_eq!(filler(bytes).map(|text| text.len() as u64).sum::<u64>(), bytes);
    }
    // The first frames of the largest answer do not wait for the rest.
    let big = answer(vec![Piece::Filler(u64::MAX)], Ending::Finish("stop"));
    assert_eq!(frames(big, head(), Duration::ZERO).take(3).count(), 3);
}

#[test]
fn without_streaming_the_answer_is_one_object() {
    let pieces = vec![
        Piece::Think("hm".to_owned()),
        Piece::Text("a".to_owned()),
        Piece::Wait(Duration::from_secs(1)),
        Piece::Ticks { every: Duration::from_secs(2), count: 3 },
        call("c", "{}"),
    ];
    let whole = whole(answer(pieces, Ending::Finish("tool_calls")), &head());
    assert_eq!(whole.delay, Duration::from_secs(7));
    let WholeBody::Json(bytes) = whole.body else { panic!("no JSON") };
    let body: Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(
        body["choices"],
        json!([{"index": 0, "finish_reason": "tool_calls", "message": {
            "role": "assistant", "content": "a1/3 2/3 3/3 ", "reasoning_content": "hm",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "bash", "arguments": "{}"}}]}}])
    );
    assert_eq!((&body["object"], &body["usage"]["total_tokens"]), (&json!("chat.completion"), &json!(10)));
}

#[test]
fn faulty_endings_without_streaming() {
    let body = |ending| whole(answer(vec![], ending), &head()).body;
    let json = |ending| match body(ending) {
        WholeBody::Json(bytes) => serde_json::from_slice::<Value>(&bytes).ok(),
        other => panic!("{other:?}"),
    };
    assert_eq!(json(Ending::Truncated).expect("JSON")["choices"][0]["finish_reason"], Value::Null);
    assert_eq!(json(Ending::BrokenJson), None);
    assert!(json(Ending::ErrorChunk).expect("JSON")["error"]["message"].is_string());
    assert_eq!(body(Ending::Cut), WholeBody::Cut);
    assert_eq!(body(Ending::Stall), WholeBody::Stall);
}
