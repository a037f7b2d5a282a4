use super::RetryAdvice;

/// Writes the enum and the three ways to look a code up from one line a code.
macro_rules! codes {
    ($($name:ident = $number:literal, $advice:ident, $meaning:literal;)+) => {
        /// What the hub refused, by its own names.
        ///
        /// The list is the one that Microsoft publishes for IoT Hub (*Troubleshoot IoT Hub error codes*), with what
        /// its clients know besides. The first three digits of a code's number are the HTTP status it comes with.
        /// A hub may use codes that are not in it: they arrive as [`Other`](Self::Other).
        ///
        /// # Examples
        ///
        /// ```
        /// use iothub_core::HubErrorCode;
        ///
        /// let code = HubErrorCode::from_name("DeviceNotFound");
        /// assert_eq!(code, HubErrorCode::DeviceNotFound);
        /// assert_eq!(code.number(), Some(404001));
        ///
        /// assert_eq!(HubErrorCode::from_number(499123).as_str(), "499123");
        /// ```
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum HubErrorCode {
            $(
                #[doc = concat!($meaning, " (", $number, ")")]
                $name,
            )+
            /// A code that is not in the published list.
            Other {
                /// What the hub said: a name, a number in digits, or an AMQP condition.
                name: String,
                /// The number, if the hub said one.
                number: Option<u32>,
            },
        }

        impl HubErrorCode {
            /// Every published code, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            pub(super) fn known_name(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($name) => Some(Self::$name),)+
                    _ => None,
                }
            }

            pub(super) fn known_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }

            pub(super) fn known(&self) -> Option<(u32, RetryAdvice)> {
                match self {
                    $(Self::$name => Some(($number, RetryAdvice::$advice)),)+
                    Self::Other { .. } => None,
                }
            }

            pub(super) fn known_str(&self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                    Self::Other { .. } => "",
                }
            }
        }
    };
}

codes! {
    GenericBadRequest = 400000, Never, "The request is wrong, and the hub says no more.";
    InvalidProtocolVersion = 400001, Never, "The api-version is missing or unknown.";
    DeviceInvalidResultCount = 400002, Never, "The hub found another number of devices than asked for.";
    InvalidOperation = 400003, Never, "The operation is not allowed here.";
    ArgumentInvalid = 400004, Never, "A value breaks a rule; the message says which.";
    ArgumentNull = 400005, Never, "A value is missing.";
    IotHubFormatError = 400006, Never, "The body is not what the hub can read.";
    DeviceStorageEntitySerializationError = 400007, Never, "The stored identity cannot be read.";
    BlobContainerValidationError = 400008, Never, "The blob container cannot be used; a fresh role assignment needs minutes.";
    ImportWarningExistsError = 400009, Never, "An import ended with warnings.";
    InvalidSchemaVersion = 400010, Never, "The schema version is unknown.";
    DeviceDefinedMultipleTimes = 400011, Never, "One bulk request names a device twice.";
    DeserializationError = 400012, Never, "The message cannot be read.";
    BulkRegistryOperationFailure = 400013, Never, "Some identities of a bulk request failed; each has its own error.";
    DefaultStorageEndpointNotConfigured = 400014, Never, "File upload needs a storage account, and the hub has none.";
    InvalidFileUploadCorrelationId = 400015, Never, "No upload has this correlation id.";
    ExpiredFileUploadCorrelationId = 400016, Never, "The upload with this correlation id took too long.";
    InvalidStorageEndpoint = 400017, Never, "The storage endpoint is wrong.";
    InvalidMessagingEndpoint = 400018, Never, "The messaging endpoint is wrong.";
    InvalidFileUploadCompletionStatus = 400019, Never, "An upload was completed with an unknown status.";
    InvalidStorageEndpointOrBlob = 400020, Never, "The storage endpoint or the blob is wrong.";
    RequestCanceled = 400021, IfRepeatable, "The request was cancelled; it may have been carried out.";
    InvalidStorageEndpointProperty = 400022, Never, "A property of the storage endpoint is wrong.";
    EtagDoesNotMatch = 400023, Reread, "The tag is no longer current.";
    RequestTimedOut = 400024, IfRepeatable, "The hub gave up; the request may have been carried out.";
    UnsupportedOperationOnReplica = 400025, Never, "The replica of a hub cannot do this.";
    NullMessage = 400026, Never, "The message is missing.";
    ConnectionForcefullyClosedOnNewConnection = 400027, Never, "The device connected a second time, which ended the first.";
    InvalidDeviceScope = 400028, Never, "The device scope is wrong.";
    ConnectionForcefullyClosedOnFaultInjection = 400029, Later, "A test closed the connection.";
    ConnectionRejectedOnFaultInjection = 400030, Later, "A test refused the connection.";
    InvalidEndpointAuthenticationType = 400031, Never, "The endpoint cannot authenticate this way.";
    ManagedIdentityNotEnabled = 400032, Never, "The hub has no managed identity.";
    InvalidPolicyKey = 400035, Never, "The key of the shared access policy is wrong.";
    BulkRegenerateDeviceKeyOperationFailure = 400036, Never, "Some device keys could not be made anew.";
    InvalidRouteTestInput = 400100, Never, "The input of a route test is wrong.";
    InvalidSourceOnRoute = 400101, Never, "The source of a route is wrong.";
    RoutingNotEnabled = 400102, Never, "The hub does not route.";
    InvalidContentEncodingOrType = 400103, Never, "A route reads the body, but its type or encoding forbids that.";
    CannotRegisterModuleToModule = 400301, Never, "A module cannot have modules.";
    TenantHubRoutingNotEnabled = 400302, Never, "The tenant hub does not route.";
    InvalidConfigurationTargetCondition = 400401, Never, "The target condition of a configuration is wrong.";
    InvalidConfigurationContent = 400402, Never, "The content of a configuration is wrong.";
    CannotModifyImmutableConfigurationContent = 400403, Never, "The content of a configuration cannot change after its creation.";
    InvalidConfigurationCustomMetricsQuery = 400404, Never, "A metric query of a configuration is wrong.";
    InvalidPnPInterfaceDefinition = 400501, Never, "An interface definition is wrong.";
    InvalidPnPDesiredProperties = 400502, Never, "The desired properties do not fit the model.";
    InvalidPnPReportedProperties = 400503, Never, "The reported properties do not fit the model.";
    InvalidPnPWritableReportedProperties = 400504, Never, "The answer to a writable property does not fit the convention.";
    InvalidDigitalTwinJsonPatch = 400505, Never, "The patch of a digital twin is no JSON Patch.";
    InvalidDigitalTwinPayload = 400506, Never, "The payload for a digital twin is wrong.";
    InvalidDigitalTwinPatch = 400507, Never, "The patch of a digital twin is wrong.";
    InvalidDigitalTwinPatchPath = 400508, Never, "A path in the patch of a digital twin is wrong.";
    GenericUnauthorized = 401000, Never, "The credential is refused, and the hub says no more.";
    IotHubNotFound = 401001, Never, "There is no such hub.";
    IotHubUnauthorizedAccess = 401002, Never, "The token is wrong, expired, or does not reach this far.";
    IotHubUnauthorized = 401003, Never, "The hub knows the caller but grants no permission for this.";
    ElasticPoolNotFound = 401004, Never, "There is no such pool.";
    SystemModuleModifyUnauthorizedAccess = 401100, Never, "Modules of the system, such as `$edgeAgent`, cannot be changed.";
    GenericForbidden = 403000, Never, "Forbidden, and the hub says no more.";
    IotHubSuspended = 403001, Never, "The hub is suspended.";
    IotHubQuotaExceeded = 403002, Later, "The daily number of messages is used up.";
    JobQuotaExceeded = 403003, Later, "Another job is running.";
    DeviceMaximumQueueDepthExceeded = 403004, Later, "The queue of the device is full: 50 messages wait for it.";
    IotHubMaxCbsTokenExceeded = 403005, Never, "One connection carries too many tokens.";
    DeviceMaximumActiveFileUploadLimitExceeded = 403006, Later, "The device has too many uploads in progress.";
    DeviceMaximumQueueSizeExceeded = 403007, Later, "The messages that wait for the device are too large together.";
    RoutingEndpointResponseForbidden = 403008, Never, "The endpoint of a route refuses the hub.";
    InvalidMessageExpiryTime = 403009, Never, "The message expires in the past, or too late.";
    OperationNotAvailableInCurrentTier = 403010, Never, "The tier of the hub does not include this.";
    KeyEncryptionKeyRevoked = 403011, Never, "The customer's encryption key was taken away.";
    DeviceDisabled = 403012, Never, "The device is disabled.";
    DeviceModelMaxPropertiesExceeded = 403100, Never, "The model has too many properties.";
    DeviceModelMaxIndexablePropertiesExceeded = 403101, Never, "The model has too many properties to index.";
    DeviceMaximumInflightMethodExceeded = 403800, Later, "Too many methods are running on the device.";
    GenericNotFound = 404000, Never, "Not found, and the hub says no more.";
    DeviceNotFound = 404001, Never, "No device has this id. The hub says so of a missing module's twin, too.";
    JobNotFound = 404002, Never, "No job has this id.";
    QuotaMetricNotFound = 404004, Never, "There is no such quota.";
    SystemPropertyNotFound = 404005, Never, "There is no such system property.";
    AmqpAddressNotFound = 404006, Never, "There is nothing at this AMQP address.";
    RoutingEndpointResponseNotFound = 404007, Never, "The endpoint of a route does not exist.";
    CertificateNotFound = 404008, Never, "There is no such certificate.";
    ElasticPoolTenantHubNotFound = 404009, Never, "The pool has no such hub.";
    ModuleNotFound = 404010, Never, "The device has no module of this name.";
    AzureTableStoreNotFound = 404011, Never, "The table behind the hub is missing.";
    IotHubFailingOver = 404012, Later, "The hub is moving to another region.";
    FeatureNotSupported = 404013, Never, "The hub does not have this feature.";
    DigitalTwinInterfaceNotFound = 404014, Never, "The digital twin has no such interface.";
    QueryStoreClusterNotFound = 404101, Later, "The store that answers queries is not there.";
    DeviceNotOnline = 404103, Later, "The device is not connected, so it cannot run a method.";
    DeviceConnectionClosedRemotely = 404104, Later, "The device closed its connection.";
    ConfigurationNotFound = 404301, Never, "No configuration has this id.";
    GroupNotFound = 404302, Never, "There is no such group.";
    DigitalTwinModelNotFound = 404401, Never, "No model has this id.";
    InterfaceNameModelNotFound = 404402, Never, "The interface name has no model.";
    GenericMethodNotAllowed = 405000, Never, "Not allowed here, and the hub says no more.";
    OperationNotAllowedInCurrentState = 405102, Never, "The state of the job does not allow this, such as cancelling one that ended.";
    ImportDevicesNotSupported = 405103, Never, "The hub does not import devices.";
    BulkAddDevicesNotSupported = 405104, Never, "The hub does not add devices in bulk.";
    GenericConflict = 409000, Never, "A conflict, and the hub says no more.";
    DeviceAlreadyExists = 409001, Never, "A device with this id exists.";
    LinkCreationConflict = 409002, Later, "Two links were made at once.";
    CallbackSubscriptionConflict = 409003, Never, "Somebody subscribed already.";
    ModelAlreadyExists = 409101, Never, "The model exists.";
    DeviceLocked = 409102, Later, "Another operation holds the device.";
    DeviceJobAlreadyExists = 409103, Never, "The device has this job already.";
    JobAlreadyExists = 409104, Never, "A job with this id exists.";
    ModuleAlreadyExistsOnDevice = 409301, Never, "The device has a module of this name.";
    ConfigurationAlreadyExists = 409401, Never, "A configuration with this id exists.";
    ApplyConfigurationAlreadyInProgressOnDevice = 409402, Later, "A configuration is being applied to the device.";
    DigitalTwinModelAlreadyExists = 409501, Never, "The model exists.";
    DigitalTwinModelExistsWithOtherModelType = 409502, Never, "The model exists as another type.";
    InterfaceNameModelAlreadyExists = 409503, Never, "The interface name has a model.";
    GenericPreconditionFailed = 412000, Reread, "A condition does not hold, and the hub says no more.";
    PreconditionFailed = 412001, Reread, "The tag of `If-Match` is no longer current, or is missing where one is needed.";
    DeviceMessageLockLost = 412002, Never, "The message was settled too late: its lock had expired.";
    JobRunPreconditionFailed = 412003, Never, "The job cannot run now.";
    InflightMessagesInLink = 412004, Never, "The link still carries messages.";
    GenericRequestEntityTooLarge = 413000, Never, "Too large, and the hub says no more.";
    MessageTooLarge = 413001, Never, "The message is too large.";
    TooManyDevices = 413002, Never, "The hub is full, or a request names too many devices.";
    TooManyModulesOnDevice = 413003, Never, "The device has as many modules as it may.";
    ConfigurationCountLimitExceeded = 413101, Never, "The hub has as many configurations as it may.";
    DigitalTwinModelCountLimitExceeded = 413201, Never, "The hub has as many models as it may.";
    InterfaceNameCompressionModelCountLimitExceeded = 413202, Never, "The hub has as many interface names as it may.";
    GenericUnsupportedMediaType = 415000, Never, "The hub cannot read this content type.";
    IncompatibleDataType = 415101, Never, "The data has another type than expected.";
    GenericTooManyRequests = 429000, Later, "Too many requests, and the hub says no more.";
    ThrottlingException = 429001, Later, "Too many requests of this kind.";
    ThrottleBacklogLimitExceeded = 429002, Later, "Too many requests wait already.";
    ThrottlingBacklogTimeout = 429003, Later, "The request waited too long behind others.";
    ThrottlingMaxActiveJobCountExceeded = 429004, Later, "As many jobs run as may.";
    DeviceThrottlingLimitExceeded = 429005, Later, "Too many requests for one device.";
    ClientClosedRequest = 499000, IfRepeatable, "The connection was closed before the answer.";
    GenericServerError = 500000, IfRepeatable, "The hub failed, and says no more.";
    ServerError = 500001, IfRepeatable, "The hub failed.";
    JobCancelled = 500002, Never, "The job was cancelled.";
    GenericTimeout = 500008, IfRepeatable, "A part of the hub did not answer in time.";
    InvalidThrottleParameter = 500009, Never, "A throttle of the hub is set up wrong.";
    ModelRepoEndpointError = 500301, Later, "The model repository failed.";
    ResolutionError = 500302, Later, "A model could not be resolved.";
    UnableToFetchCredentials = 500401, Later, "The hub could not get its credentials.";
    UnableToFetchTenantInfo = 500402, Later, "The hub could not learn about its tenant.";
    UnableToShareIdentity = 500403, Later, "The hub could not share its identity.";
    UnableToExpandDiscoveryInfo = 500501, Never, "Discovery information could not be expanded.";
    UnableToExpandComponentInfo = 500502, Never, "Component information could not be expanded.";
    UnableToCompressComponentInfo = 500503, Never, "Component information could not be compressed.";
    UnableToCompressDiscoveryInfo = 500504, Never, "Discovery information could not be compressed.";
    OrphanDiscoveryDocument = 500505, Never, "A discovery document belongs to nothing.";
    GenericBadGateway = 502000, IfRepeatable, "Something before the hub got no proper answer from it.";
    GenericServiceUnavailable = 503000, Later, "Not available, and the hub says no more.";
    ServiceUnavailable = 503001, Later, "The hub is not available.";
    PartitionNotFound = 503003, Later, "A partition of the hub is not there.";
    IotHubActivationFailed = 503004, Later, "The hub could not be started.";
    ServerBusy = 503005, Later, "The hub has too much to do.";
    IotHubRestoring = 503006, Later, "The hub is being restored.";
    ReceiveLinkOpensThrottled = 503008, Later, "Too many receivers are being opened.";
    ConnectionUnavailable = 503101, Later, "The connection to the device is not available.";
    DeviceUnavailable = 503102, Later, "The device is not available.";
    ConfigurationNotAvailable = 503201, Later, "The configuration is not available.";
    GroupNotAvailable = 503202, Later, "The group is not available.";
    HostingServiceNotAvailable = 503301, Later, "The service that hosts the hub is not available.";
    GenericGatewayTimeout = 504000, IfRepeatable, "Something before the hub waited for it too long.";
    GatewayTimeout = 504101, IfRepeatable, "The device did not answer in time; its method may have run.";
}
