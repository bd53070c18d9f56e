//! Serves a stub model to play with: `cargo run -p runner-testkit --example stub_model -- 127.0.0.1:9999 [--demo] [--key KEY]`.

use std::net::SocketAddr;
use std::time::Duration;

use runner_testkit::stub_model::StubModel;

const USAGE: &str = "usage: stub_model [ADDRESS:PORT] [--demo] [--key KEY]";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut addr: SocketAddr = "127.0.0.1:9999".parse()?;
    let mut builder = StubModel::builder();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--demo" => builder = builder.demo_behaviour(true).word_pace(Duration::from_millis(40)),
            "--key" => builder = builder.api_key(arguments.next().ok_or(USAGE)?),
            other => addr = other.parse().map_err(|_| USAGE)?,
        }
    }

    let model = builder.bind(addr).await?;
    println!("{}", model.base_url());
    println!(
        "try: curl -N {}/chat/completions -d '{{\"model\":\"any\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"[[say: hello]]\"}}]}}'",
        model.base_url()
    );

    let mut shown = 0;
    loop {
        tokio::select! {
            stopped = tokio::signal::ctrl_c() => break stopped?,
            _ = model.wait_for_requests(shown + 1, Duration::from_hours(1)) => {}
        }
        for request in model.requests() {
            if request.number > shown {
                shown = request.number;
                println!(
                    "#{shown} {:?} step {} ({} messages) {:?} -> {}",
                    request.kind,
                    request.step,
                    request.messages,
                    request.last_user_text.chars().take(100).collect::<String>(),
                    request.reply
                );
            }
        }
    }
    model.shutdown().await;
    Ok(())
}
