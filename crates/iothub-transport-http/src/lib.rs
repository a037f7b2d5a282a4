//! azure_core HttpClient over hyper and rustls: HTTP/1.1 and HTTP/2, proxies, limits, one pool.
