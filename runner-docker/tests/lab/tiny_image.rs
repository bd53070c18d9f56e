//! An image of four megabytes with a shell and a few programs, for engines that have nothing: cut out of the runner
//! image by the main engine, so that no registry is needed and the architecture is the right one. Half a second, where
//! handing the whole runner image over takes ten.

use runner_core::ImageRef;
use runner_docker::DockerHost;
use serde_json::json;

use super::http::{JSON, Reply, TAR, send};
use super::{LABEL, host, image};

/// Its name on every engine. With a registry's part, because Podman would add one otherwise.
const NAME: &str = "localhost/cnap-tiny:1";

/// Programs with the libraries that they say they need. `/bin` is a link as in the runner image.
const CUT: &str = r#"
set -e
mkdir -p /tmp/root/tmp /tmp/root/workspace /tmp/root/state /tmp/root/usr/bin
cd /tmp/root
for name in sh bash sleep timeout true cat head tail tr cut grep id seq touch dd; do
    file=$(readlink -f "/usr/bin/$name")
    cp "$file" "usr/bin/$name"
    for library in $(ldd "$file" | grep -o '/[^ ]*'); do cp -L --parents "$library" .; done
done
[ -e bin ] || ln -s usr/bin bin
chmod -R a+rX .
# As in the runner image: Podman gives a tmpfs the owner and mode of what it covers.
chmod 1777 tmp
"#;

/// Gives the image to an engine. As the runner image, it says which port it serves.
pub(crate) fn load(to: &DockerHost) -> ImageRef {
    load_as(to, NAME, "EXPOSE 4096")
}

/// The same under another name and with another line of a Dockerfile.
pub(crate) fn load_as(to: &DockerHost, name: &str, line: &str) -> ImageRef {
    let line = line.replace(' ', "%20");
    // The tag as a part of the name: Podman 4.3 overlooks `tag`.
    let path = format!("/images/create?fromSrc=-&repo={name}&changes={line}");
    let reply = send(to, "POST", &path, TAR, &archive()).unwrap();
    let text = reply.text();
    assert!(reply.status == 200 && !text.contains("errorDetail"), "the import failed: {text}");
    name.parse().unwrap()
}

/// The image's file system as a tar.
fn archive() -> Vec<u8> {
    let body = json!({
        "Image": image().as_str(),
        "Entrypoint": ["sh", "-c"],
        "Cmd": [CUT],
        "Labels": { LABEL: format!("tiny-image-{}", std::process::id()) },
        "HostConfig": { "NetworkMode": "none" },
    });
    let made = main_engine("POST", "/containers/create", body.to_string().as_bytes());
    assert_eq!(made.status, 201, "the tiny image is cut out of the runner image: {}", made.text());
    let scissors = Scissors { id: made.json()["Id"].as_str().unwrap().to_owned() };
    assert_eq!(scissors.ask("POST", "start").status, 204);
    let ended = scissors.ask("POST", "wait").json();
    let said = || scissors.ask("GET", "logs?stdout=true&stderr=true").text();
    assert_eq!(ended["StatusCode"], 0, "cutting the image failed: {}", said());
    let tar = scissors.ask("GET", "archive?path=/tmp/root/.");
    assert_eq!(tar.status, 200, "{}", tar.text());
    tar.body
}

/// The container that cuts; gone with this.
struct Scissors {
    id: String,
}

impl Scissors {
    fn ask(&self, method: &str, what: &str) -> Reply {
        main_engine(method, &format!("/containers/{}/{what}", self.id), b"")
    }
}

impl Drop for Scissors {
    fn drop(&mut self) {
        main_engine("DELETE", &format!("/containers/{}?force=true&v=true", self.id), b"");
    }
}

fn main_engine(method: &str, path: &str, body: &[u8]) -> Reply {
    send(&host(), method, path, JSON, body)
        .unwrap_or_else(|e| panic!("live tests need an engine: {method} {path}: {e}"))
}
