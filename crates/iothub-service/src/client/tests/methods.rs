use azure_core::http::StatusCode;
use iothub_core::{
    DeviceId, ModuleId,
    models::{DirectMethodRequest, JsonText},
    testing::HttpAnswer,
};

use super::*;
use crate::InvokeMethodOptions;

/// What a device may send: spaces, zeros, digits and order are its own.
const EXACT: &str = r#"{"z": 1.50, "a":[ 12345678901234567890123 ],"d":"2030-01-01T00:00:00.100+02:00"}"#;

async fn invoke(http: &ScriptedHttp, target: &Target, method: &DirectMethodRequest) -> Result<(i32, Option<JsonText>)> {
    let response = over_http(http).invoke_method(target, method, None).await?;
    let answer = response.into_model()?;
    Ok((answer.status, answer.payload))
}

fn refusal(status: StatusCode, code: u32, name: &str) -> HttpAnswer {
    let body = format!(r#"{{"errorCode":{code},"message":"for a test"}}"#);
    HttpAnswer::new(status, body).with_header("iothub-errorcode", name.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_method_is_invoked_on_a_device_or_module() -> Result<()> {
    let module = Target::Module(ModuleId::new("gate#1".parse::<DeviceId>()?, "filter")?);
    for (target, path) in [
        (lamp(), "/twins/lamp/methods"),
        (module, "/twins/gate%231/modules/filter/methods"),
    ] {
        let http = ScriptedHttp::answering(StatusCode::Ok, r#"{"status":202,"payload":null}"#);
        let answer = invoke(&http, &target, &DirectMethodRequest::new("reboot")).await?;
        assert_eq!(answer, (202, None));
        assert_eq!(http.seen(), [format!("POST {path}?api-version=2021-04-12")]);
        assert_eq!(http.requests()[0].body, r#"{"methodName":"reboot"}"#);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn payloads_keep_every_byte() -> Result<()> {
    let http = ScriptedHttp::answering(StatusCode::Ok, format!(r#"{{"payload":{EXACT},"status":200}}"#));
    let method = DirectMethodRequest::new("m").with_payload(EXACT.parse::<JsonText>()?);
    let (_, payload) = invoke(&http, &lamp(), &method).await?;
    assert_eq!(payload.as_ref().map(JsonText::as_str), Some(EXACT));
    let sent = String::from_utf8_lossy(&http.requests()[0].body).into_owned();
    assert_eq!(sent, format!(r#"{{"methodName":"m","payload":{EXACT}}}"#));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_awaited_as_long_as_it_may_take() {
    for (method, seconds) in [
        (DirectMethodRequest::new("m"), 40),
        (
            DirectMethodRequest::new("m").with_response_timeout(Duration::from_secs(5)),
            30,
        ),
        (
            DirectMethodRequest::new("m")
                .with_response_timeout(Duration::from_secs(300))
                .with_connect_timeout(Duration::from_secs(60)),
            370,
        ),
    ] {
        let http = ScriptedHttp::always(HttpAnswer::Silence);
        let begin = Instant::now();
        let error = invoke(&http, &lamp(), &method).await.unwrap_err();
        assert_eq!(begin.elapsed().as_secs(), seconds, "{error}");
        assert!(CallFacts::of(&error).expect("facts").maybe_applied, "{error}");
        assert_eq!(http.seen().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_have_run_is_not_run_again() {
    for answer in [
        HttpAnswer::Lost,
        HttpAnswer::CutOff(StatusCode::Ok),
        HttpAnswer::new(StatusCode::InternalServerError, ""),
        refusal(StatusCode::GatewayTimeout, 504_101, "GatewayTimeout"),
    ] {
        let http = ScriptedHttp::always(answer);
        let error = invoke(&http, &lamp(), &DirectMethodRequest::new("m"))
            .await
            .unwrap_err();
        assert_eq!(http.seen().len(), 1, "{error}");
        assert!(CallFacts::of(&error).expect("facts").maybe_applied, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_not_run_is_tried_again() -> Result<()> {
    let busy = refusal(StatusCode::TooManyRequests, 429_001, "ThrottlingException");
    let done = HttpAnswer::new(StatusCode::Ok, r#"{"status":200}"#);
    let http = ScriptedHttp::new([HttpAnswer::Refused, busy, done]);
    invoke(&http, &lamp(), &DirectMethodRequest::new("m")).await?;
    assert_eq!(http.seen().len(), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_away_is_not_one_that_is_unknown() {
    for (number, name, expected) in [
        (404_103, "DeviceNotOnline", HubErrorCode::DeviceNotOnline),
        (404_001, "DeviceNotFound", HubErrorCode::DeviceNotFound),
    ] {
        let http = ScriptedHttp::new([refusal(StatusCode::NotFound, number, name)]);
        let error = invoke(&http, &lamp(), &DirectMethodRequest::new("m"))
            .await
            .unwrap_err();
        assert_eq!(code(&error), Some(&expected));
        assert!(!CallFacts::of(&error).expect("facts").maybe_applied);
    }
}

#[tokio::test(start_paused = true)]
async fn timeouts_that_no_hub_takes_are_refused_here() {
    let method = |response, connect| {
        DirectMethodRequest::new("m")
            .with_response_timeout(Duration::from_secs(response))
            .with_connect_timeout(Duration::from_secs(connect))
    };
    for (method, why) in [
        (method(4, 0), "response timeout of 4s"),
        (method(301, 0), "response timeout of 301s"),
        (method(20, 21), "connect timeout of 21s"),
        (
            DirectMethodRequest::new("m").with_connect_timeout(Duration::from_secs(31)),
            "response timeout of 30s",
        ),
        (DirectMethodRequest::new(""), "1 to 128 characters"),
        (DirectMethodRequest::new("x".repeat(129)), "1 to 128 characters"),
    ] {
        let http = ScriptedHttp::default();
        let error = invoke(&http, &lamp(), &method).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::DataConversion);
        assert!(error.to_string().contains(why), "{error}");
        assert!(http.seen().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_the_call_is_kept() {
    let http = ScriptedHttp::always(HttpAnswer::Silence);
    let options = InvokeMethodOptions {
        method_options: ClientMethodOptions {
            context: Context::new().with_value(within(Duration::from_secs(3))),
        },
    };
    let begin = Instant::now();
    let method = DirectMethodRequest::new("m");
    let result = over_http(&http).invoke_method(&lamp(), &method, Some(options)).await;
    assert!(result.is_err());
    assert_eq!(begin.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_purge_says_how_many_and_is_not_repeated() -> Result<()> {
    let body = r#"{"totalMessagesPurged":3,"deviceId":"lamp","moduleId":null}"#;
    let http = ScriptedHttp::answering(StatusCode::Ok, body);
    let purged = over_http(&http)
        .purge_message_queue(&"lamp".parse()?, None)
        .await?
        .into_model()?;
    assert_eq!(purged.total_messages_purged, 3);
    assert_eq!(http.seen(), ["DELETE /devices/lamp/commands?api-version=2021-04-12"]);

    let http = ScriptedHttp::always(HttpAnswer::Lost);
    let error = over_http(&http)
        .purge_message_queue(&"lamp".parse()?, None)
        .await
        .unwrap_err();
    assert!(CallFacts::of(&error).expect("facts").maybe_applied);
    assert_eq!(http.seen().len(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn statistics_are_read() -> Result<()> {
    let http = ScriptedHttp::new([
        HttpAnswer::Lost,
        HttpAnswer::new(StatusCode::Ok, r#"{"connectedDeviceCount":7}"#),
    ]);
    let statistics = over_http(&http).get_service_statistics(None).await?.into_model()?;
    assert_eq!(statistics.connected_device_count, 7);
    let request = "GET /statistics/service?api-version=2021-04-12";
    assert_eq!(http.seen(), [request, request]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_closed_client_makes_no_requests() -> Result<()> {
    let http = ScriptedHttp::default();
    let service = over_http(&http);
    service.close().await?;
    let error = service.get_service_statistics(None).await.unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
    assert!(http.seen().is_empty());
    Ok(())
}
