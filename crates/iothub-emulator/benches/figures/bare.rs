use std::{convert::Infallible, io::Write, sync::Arc};

use bytes::Bytes;
use http::{Response, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The argument that makes this process a server which answers everything with the same document.
pub(crate) const BARE: &str = "--bare";

pub(crate) async fn serve() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tls = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ready = json!({
        "httpsPort": listener.local_addr().unwrap().port(),
        "root": certificate.pem(),
        "connectionString": "SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==",
    });
    println!("{ready}");
    std::io::stdout().flush().unwrap();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let tls = tls.clone();
        tokio::spawn(async move {
            let stream = TokioIo::new(tls.accept(tcp).await.unwrap());
            let answer = service_fn(|_| async {
                let response = Response::builder().header(CONTENT_TYPE, "application/json; charset=utf-8");
                Ok::<_, Infallible>(response.body(Full::<Bytes>::from(TWIN)).unwrap())
            });
            // It ends with the client, in whatever way that does.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(stream, answer)
                .await;
        });
    }
}

/// As long as a twin that nobody has written.
const TWIN: &str = r#"{"deviceId":"d1000","etag":"AAAAAAAAAAE=","deviceEtag":"MTIzNDU2Nzg5","status":"enabled","statusUpdateTime":"0001-01-01T00:00:00Z","connectionState":"Disconnected","lastActivityTime":"0001-01-01T00:00:00Z","cloudToDeviceMessageCount":0,"authenticationType":"sas","x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"modelId":"","version":2,"properties":{"desired":{"$metadata":{"$lastUpdated":"2030-01-01T00:00:00.0000000Z"},"$version":1},"reported":{"$metadata":{"$lastUpdated":"2030-01-01T00:00:00.0000000Z"},"$version":1}},"capabilities":{"iotEdge":false}}"#;
