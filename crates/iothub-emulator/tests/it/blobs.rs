use std::time::Duration;

use iothub_emulator::{BlobContainer, Emulator, EmulatorOptions};

use crate::client::{Client, Reply};

async fn account() -> (Emulator, BlobContainer, Client) {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let container = emulator.blob_container("files").unwrap();
    let client = Client::new(&emulator, "iothubowner").await;
    (emulator, container, client)
}

/// Asks about a blob, with a parameter more if there is one.
async fn ask(client: &mut Client, method: &str, uri: &str, blob: &str, more: &str, body: &str) -> Reply {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let path = &path[path.find("/devstoreaccount1").unwrap()..];
    let (header, kind) = ("x-ms-blob-type", "BlockBlob");
    let path = format!("{path}/{blob}?{query}&{more}");
    client.raw(method, &path, &[(header, kind)], body).await.unwrap()
}

fn code(reply: &Reply) -> String {
    let code = reply.header("x-ms-error-code").unwrap_or_default();
    format!("{} {code}", reply.status.as_u16()).trim().to_owned()
}

#[tokio::test]
async fn a_blob_is_written_read_and_deleted() {
    let (_emulator, container, mut client) = account().await;
    let uri = container.sas_uri();
    let put = ask(&mut client, "PUT", &uri, "a/b%20c.txt", "", "hello").await;
    assert_eq!(code(&put), "201");
    assert_eq!(container.blobs(), ["a/b c.txt"]);
    let get = ask(&mut client, "GET", &uri, "a/b%20c.txt", "", "").await;
    assert_eq!((code(&get).as_str(), &get.body[..]), ("200", &b"hello"[..]));
    assert_eq!(get.header("etag"), put.header("etag"));
    assert_eq!(get.header("x-ms-blob-type"), Some("BlockBlob"));
    let head = ask(&mut client, "HEAD", &uri, "a/b%20c.txt", "", "").await;
    assert_eq!((head.header("content-length"), head.body.len()), (Some("5"), 0));
    assert_eq!(
        code(&ask(&mut client, "DELETE", &uri, "a/b%20c.txt", "", "").await),
        "202"
    );
    let gone = ask(&mut client, "GET", &uri, "a/b%20c.txt", "", "").await;
    assert_eq!(code(&gone), "404 BlobNotFound");
    let text = String::from_utf8(gone.body.to_vec()).unwrap();
    assert!(
        text.starts_with("<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>BlobNotFound</Code><Message>"),
        "{text}"
    );
}

#[tokio::test]
async fn blocks_become_a_blob_when_a_list_names_them() {
    let (_emulator, container, mut client) = account().await;
    let uri = container.sas_uri();
    for (id, text) in [("MQ==", "one "), ("Mg==", "two "), ("Mw==", "three")] {
        let more = format!("comp=block&blockid={}", id.replace('=', "%3D"));
        assert_eq!(code(&ask(&mut client, "PUT", &uri, "x", &more, text).await), "201");
    }
    assert_eq!(container.read_blob("x"), None);
    let list = "<BlockList><Latest>Mw==</Latest><Uncommitted>MQ==</Uncommitted></BlockList>";
    assert_eq!(
        code(&ask(&mut client, "PUT", &uri, "x", "comp=blocklist", list).await),
        "201"
    );
    assert_eq!(container.read_blob("x").unwrap(), "threeone ");
    // The second block was not named, and is forgotten; the others can be named again.
    let list = "<BlockList><Committed>MQ==</Committed><Latest>Mw==</Latest></BlockList>";
    assert_eq!(
        code(&ask(&mut client, "PUT", &uri, "x", "comp=blocklist", list).await),
        "201"
    );
    assert_eq!(container.read_blob("x").unwrap(), "one three");
    let list = "<BlockList><Latest>Mg==</Latest></BlockList>";
    let refused = ask(&mut client, "PUT", &uri, "x", "comp=blocklist", list).await;
    assert_eq!(code(&refused), "400 InvalidBlockList");
}

#[tokio::test]
async fn parts_are_read_by_range() {
    let (_emulator, container, mut client) = account().await;
    container.write_blob("x", "0123456789");
    let uri = container.sas_uri();
    let path = &uri[uri.find("/devstoreaccount1").unwrap()..].replacen("?", "/x?", 1);
    for (range, expected, body) in [
        ("bytes=2-4", "206", "234"),
        ("bytes=8-100", "206", "89"),
        ("bytes=9-", "206", "9"),
        ("bytes=10-11", "416 InvalidRange", ""),
    ] {
        let reply = client.raw("GET", path, &[("x-ms-range", range)], "").await.unwrap();
        assert_eq!(code(&reply), expected, "{range}");
        if !body.is_empty() {
            assert_eq!(reply.body, body);
        }
    }
    let reply = client.raw("GET", path, &[("range", "bytes=2-4")], "").await.unwrap();
    assert_eq!(reply.header("content-range"), Some("bytes 2-4/10"));
}

#[tokio::test]
async fn a_list_comes_in_pages() {
    let (_emulator, container, mut client) = account().await;
    for name in ["a", "b&c", "b/1", "b/2", "c"] {
        container.write_blob(name, "");
    }
    let uri = container.sas_uri();
    let (path, query) = uri.split_once('?').unwrap();
    let path = &path[path.find("/devstoreaccount1").unwrap()..];
    let mut list = async |more: &str| {
        let path = format!("{path}?restype=container&comp=list&{query}&{more}");
        let reply = client.raw("GET", &path, &[], "").await.unwrap();
        assert_eq!(code(&reply), "200");
        String::from_utf8(reply.body.to_vec()).unwrap()
    };
    let names = |xml: &str| -> Vec<String> {
        let parts = xml.split("<Name>").skip(1);
        parts
            .map(|part| part.split_once("</Name>").unwrap().0.to_owned())
            .collect()
    };
    let page = list("prefix=b&maxresults=2").await;
    assert_eq!(names(&page), ["b&amp;c", "b/1"]);
    assert!(page.contains("<NextMarker>b/2</NextMarker>"), "{page}");
    let page = list("prefix=b&maxresults=2&marker=b/2").await;
    assert_eq!(names(&page), ["b/2"]);
    assert!(page.contains("<NextMarker></NextMarker>"), "{page}");
    assert_eq!(names(&list("").await).len(), 5);
}

#[tokio::test]
async fn a_signature_allows_what_its_letters_say() {
    let (emulator, container, mut client) = account().await;
    container.write_blob("x", "old");
    let minute = Duration::from_secs(60);
    for (letters, method, blob, expected) in [
        ("r", "GET", "x", "200"),
        ("w", "GET", "x", "403 AuthorizationPermissionMismatch"),
        ("r", "PUT", "x", "403 AuthorizationPermissionMismatch"),
        ("c", "PUT", "x", "403 AuthorizationPermissionMismatch"),
        ("c", "PUT", "new", "201"),
        ("w", "PUT", "x", "201"),
        ("rw", "DELETE", "x", "403 AuthorizationPermissionMismatch"),
        ("d", "DELETE", "x", "202"),
    ] {
        let uri = container.sas_uri_with(letters, minute);
        let reply = ask(&mut client, method, &uri, blob, "", "new").await;
        assert_eq!(code(&reply), expected, "{letters} {method} {blob}");
    }
    let other = emulator.blob_container("others").unwrap().sas_uri();
    let stolen = format!("{}?{}", container.uri(), other.split_once('?').unwrap().1);
    assert_eq!(
        code(&ask(&mut client, "GET", &stolen, "new", "", "").await),
        "403 AuthenticationFailed"
    );
    assert_eq!(
        code(&ask(&mut client, "GET", &container.uri(), "new", "", "").await),
        "401 NoAuthenticationInformation"
    );
    let uri = container.sas_uri_with("r", minute);
    emulator.clock().advance(minute);
    assert_eq!(
        code(&ask(&mut client, "GET", &uri, "new", "", "").await),
        "403 AuthenticationFailed"
    );
}

#[tokio::test]
async fn conditions_are_kept() {
    let (_emulator, container, mut client) = account().await;
    container.write_blob("x", "old");
    let uri = container.sas_uri();
    let path = uri[uri.find("/devstoreaccount1").unwrap()..].replacen("?", "/x?", 1);
    let mut put = async |name: &str, value: &str| {
        // Of two headers by a name, the first counts.
        let headers = [(name, value), ("x-ms-blob-type", "BlockBlob")];
        code(&client.raw("PUT", &path, &headers, "new").await.unwrap())
    };
    assert_eq!(put("if-none-match", "*").await, "409 BlobAlreadyExists");
    assert_eq!(put("if-match", "\"0x0\"").await, "412 ConditionNotMet");
    assert_eq!(put("x-ms-blob-type", "PageBlob").await, "400 InvalidHeaderValue");
    assert_eq!(put("if-match", "*").await, "201");
}
