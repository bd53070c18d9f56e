//! The OpenCode adapter keeps the port's promises against a real server in a real container.

mod support;

use runner_core::endpoint::{Credentials, Endpoint};
use runner_core::{AgentConnector, Secret};
use runner_opencode::{OpenCodeConfig, OpenCodeConnector};
use runner_testkit::contract::agent_api::{AgentFixture, all};
use support::Live;

#[tokio::test]
async fn opencode_passes_the_contract() {
    let live = Live::new().await;
    let runner = live.start("contract").await.unwrap();
    let shown = live.engine.inspect(runner.container().as_str()).await;
    let port = shown["NetworkSettings"]["Ports"]["4096/tcp"][0]["HostPort"].as_str().unwrap();
    let password = std::fs::read_to_string(live.dir.path().join("data/.run/contract/password")).unwrap();
    let connector = OpenCodeConnector::new(OpenCodeConfig::default()).unwrap();
    let endpoint = Endpoint {
        base_url: format!("http://127.0.0.1:{port}"),
        credentials: Credentials {
            username: connector.requirements().username,
            password: Secret::new(password),
        },
        directory: "/workspace".to_owned(),
    };
    let api = connector.connect(endpoint).await.unwrap();
    let model = live.config.agent.model.clone();
    all(api, AgentFixture { model, ..AgentFixture::new().unwrap() }).await;
    live.end().await;
}
