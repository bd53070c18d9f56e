//! One request: address, credentials, time limit, size limit, and what its answer may look like.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use runner_core::Endpoint;
use serde::Serialize;

use crate::config::OpenCodeConfig;
use crate::connection::{self, Incoming};
use crate::error::Failure;
use crate::wire::cut;
use crate::wire::error::refusal;

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

/// The largest answer with an error status that is read: what it says in its beginning is all we use.
const MAX_REFUSAL: usize = 256 << 10;

/// A server that can be called.
pub(crate) struct Server {
    client: Client,
    base: Url,
    authorization: HeaderValue,
    directory: String,
    connect: Duration,
    max_body: usize,
}

impl Server {
    pub(crate) fn new(client: Client, endpoint: &Endpoint, config: &OpenCodeConfig) -> Result<Self, Failure> {
        let base = base(&endpoint.base_url)?;
        let directory = directory(&endpoint.directory)?;
        let credentials = &endpoint.credentials;
        if credentials.username.contains(':') {
            return Err(Failure::Address(
                "a user name with ':' cannot be used for basic authentication".into(),
            ));
        }
        let authorization = client
            .get(base.clone())
            .basic_auth(&credentials.username, Some(credentials.password.expose()))
            .build()
            .map_err(Failure::transport)?
            .headers_mut()
            .remove(AUTHORIZATION);
        let Some(mut authorization) = authorization else {
            return Err(Failure::Address("the credentials cannot stand in a header".into()));
        };
        authorization.set_sensitive(true);
        let (connect, max_body) = (config.limits.connect, config.max_body_bytes);
        Ok(Self { client, base, authorization, directory, connect, max_body })
    }

    pub(crate) fn base_url(&self) -> &str {
        self.base.as_str()
    }

    pub(crate) fn directory(&self) -> &str {
        &self.directory
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    pub(crate) fn post_json(&self, path: &str, body: &impl Serialize) -> RequestBuilder {
        self.post(path).json(body)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(path);
        // On each call, needed or not: without it a call is about the directory the server was started in.
        url.query_pairs_mut().append_pair("directory", &self.directory);
        self.client.request(method, url).header(AUTHORIZATION, self.authorization.clone())
    }

    /// The JSON of an answer of success, as text.
    pub(crate) async fn json(&self, request: RequestBuilder, limit: Duration) -> Result<String, Failure> {
        within(limit, async {
            let response = self.send(request, JSON).await?;
            let body = read(response, self.max_body).await?;
            String::from_utf8(body).map_err(|_| Failure::Unreadable {
                what: "it is not text",
                line: 0,
                column: 0,
            })
        })
        .await
    }

    /// Success without content, and nothing else.
    pub(crate) async fn no_content(&self, request: RequestBuilder, limit: Duration) -> Result<(), Failure> {
        within(limit, async {
            let response = self.exchange(request, JSON).await?;
            if response.status() == StatusCode::NO_CONTENT {
                return Ok(());
            }
            content_type(response.headers(), JSON)?;
            Err(Failure::Status { found: response.status().as_u16(), expected: 204 })
        })
        .await
    }

    /// An event stream, of which nothing but the head has been read.
    pub(crate) async fn event_stream(&self, path: &str) -> Result<Incoming, Failure> {
        let request = self.get(path).header(ACCEPT, HeaderValue::from_static(EVENT_STREAM));
        let request = request.build().map_err(Failure::transport)?;
        let (head, body) = connection::open(&request, self.connect).await?;
        if !head.status.is_success() {
            // The status alone says enough where the rest cannot be read.
            let said = connection::read(body, MAX_REFUSAL).await.unwrap_or_default();
            return Err(Failure::Refused(refusal(head.status.as_u16(), &said)));
        }
        content_type(&head.headers, EVENT_STREAM)?;
        Ok(body)
    }

    /// An answer of success and of the expected type; its body has not been read.
    async fn send(&self, request: RequestBuilder, expected: &'static str) -> Result<Response, Failure> {
        let response = self.exchange(request, expected).await?;
        content_type(response.headers(), expected)?;
        Ok(response)
    }

    /// An answer of success; its body has not been read.
    async fn exchange(&self, request: RequestBuilder, accept: &'static str) -> Result<Response, Failure> {
        let request = request.header(ACCEPT, HeaderValue::from_static(accept));
        let response = request.send().await.map_err(Failure::transport)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = match read(response, MAX_REFUSAL).await {
            Ok(body) => body,
            // The status alone says enough.
            Err(Failure::TooLarge(_) | Failure::Broken(_)) => Vec::new(),
            Err(failure) => return Err(failure),
        };
        Err(Failure::Refused(refusal(status.as_u16(), &body)))
    }
}

/// Runs a call within its time limit.
pub(crate) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(limit, call).await.unwrap_or(Err(Failure::Timeout(limit)))
}

async fn read(mut response: Response, max: usize) -> Result<Vec<u8>, Failure> {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    if announced.is_some_and(|length| length > max) {
        return Err(Failure::TooLarge(max));
    }
    let mut body = Vec::with_capacity(announced.unwrap_or_default());
    while let Some(chunk) = response.chunk().await.map_err(Failure::transport)? {
        if body.len() + chunk.len() > max {
            return Err(Failure::TooLarge(max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn content_type(headers: &HeaderMap, expected: &'static str) -> Result<(), Failure> {
    let found = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = found.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    let found =
        if media_type.is_empty() { "of no stated type".to_owned() } else { cut(media_type, 100).to_owned() };
    Err(Failure::ContentType { found, expected })
}

fn base(text: &str) -> Result<Url, Failure> {
    // The address is not repeated where it does not parse or has a user in it: it might hold a password.
    let url =
        Url::parse(text).map_err(|error| Failure::Address(format!("the address is not a URL: {error}")))?;
    let refuse = |why: &str| Err(Failure::Address(format!("the address {why}")));
    match url.scheme() {
        "http" => {}
        "https" => return refuse("begins with https, and this client has no TLS: a server is on loopback"),
        _ => return refuse("does not begin with http"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("has a user in it; credentials are given separately");
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return refuse("has more than scheme, host and port");
    }
    Ok(url)
}

/// The server calls a directory by its plain absolute path and names that in its events; any other spelling would
/// match none of them.
fn directory(text: &str) -> Result<String, Failure> {
    let plain = if text.len() > 1 { text.strip_suffix('/').unwrap_or(text) } else { text };
    let absolute = plain.strip_prefix('/');
    let ok = absolute.is_some_and(|rest| {
        rest.is_empty()
            || rest.split('/').all(|name| !matches!(name, "" | "." | "..") && !name.contains('\0'))
    });
    if ok {
        return Ok(plain.to_owned());
    }
    Err(Failure::Address(format!("{text:?} is not an absolute directory without '.', '..' and '//'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_addresses_are_taken() {
        for good in ["http://127.0.0.1:4096", "http://127.0.0.1:4096/", "http://[::1]:1", "http://runner"] {
            assert!(base(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "127.0.0.1:4096",
            "https://127.0.0.1",
            "unix:///x",
            "http://u:sk-SECRET@127.0.0.1",
            "http://127.0.0.1/x",
            "http://127.0.0.1/?a=b",
            "http://127.0.0.1/#a",
            "http://",
        ] {
            let failure = base(bad).expect_err(bad);
            assert!(!failure.to_string().contains("SECRET"), "{failure}");
        }
    }

    #[test]
    fn directories_are_spelt_as_the_server_does() {
        for (given, spelt) in [("/workspace", "/workspace"), ("/a b/", "/a b"), ("/", "/"), ("/é", "/é")] {
            assert_eq!(directory(given).expect(given), spelt);
        }
        for bad in ["", "workspace", "./x", "/a/../b", "/a/./b", "/a//b", "/a//", "/a\0"] {
            assert!(directory(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_media_type_may_have_parameters() {
        let with =
            |value: &'static str| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
        for good in ["application/json", "application/json; charset=utf-8", "Application/JSON;x"] {
            assert!(content_type(&with(good), JSON).is_ok(), "{good}");
        }
        for bad in ["text/html", "application/jsonp", ""] {
            assert!(content_type(&with(bad), JSON).is_err(), "{bad}");
        }
        assert!(content_type(&HeaderMap::new(), JSON).is_err());
    }
}
