use azure_core::{
    error::ErrorKind,
    http::{Method, Response},
};
use iothub_core::{DeviceId, Error, HubError, HubErrorCode, IfMatch, ModuleId, Result, models::Module};

use super::{RegistryClient, race};
use crate::{
    CreateModuleOptions, DeleteModuleOptions, GetModuleOptions, ListModulesOptions, ModifyModuleOptions,
    UpdateModuleOptions,
};

/// Modules: parts of a device with an identity, a twin and a connection of their own.
///
/// An edge device has the modules `$edgeAgent` and `$edgeHub` from the beginning; other names that begin with `$` are
/// refused.
///
/// The key of a shared access policy is told nothing about a device that is missing or disabled: where these calls name
/// [`HubErrorCode::DeviceNotFound`], it gets [`HubErrorCode::IotHubUnauthorizedAccess`].
impl RegistryClient {
    /// Adds a module to a device, and its twin with it.
    ///
    /// Without keys or a certificate the module gets keys from the hub; they are in the answer.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::ModuleAlreadyExistsOnDevice`] if the device has a module of this name, possibly from an earlier
    /// try of this call: then [`CallFacts::maybe_applied`](iothub_core::CallFacts::maybe_applied) is true.
    /// [`HubErrorCode::DeviceNotFound`] if there is no such device. [`HubErrorCode::TooManyModulesOnDevice`] if it has as
    /// many as a device can have.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_core::ModuleId;
    /// use iothub_registry::models::Module;
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let dimmer = ModuleId::new("lamp".parse()?, "dimmer")?;
    /// let module = Module::new(dimmer).with_managed_by("lighting");
    /// let module = registry.create_module(&module, None).await?.into_model()?;
    /// println!("{} was created in version {:?}", module.id, module.etag);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "AddModuleAsync")]
    #[doc(alias = "addModule")]
    pub async fn create_module(
        &self,
        module: &Module,
        options: Option<CreateModuleOptions<'_>>,
    ) -> Result<Response<Module>> {
        let options = options.unwrap_or_default();
        let request = self.hub.request(Method::Put, &path(&module.id))?.json(module)?;
        let response = self.hub.send(&options.method_options.context, request).await?;
        Ok(response.into())
    }

    /// Reads one module identity.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::ModuleNotFound`] if the device has no module of this name, [`HubErrorCode::DeviceNotFound`] if
    /// there is no such device; [`try_get_module`](Self::try_get_module) makes both a `None`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_core::ModuleId;
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let dimmer = ModuleId::new("lamp".parse()?, "dimmer")?;
    /// let module = registry.get_module(&dimmer, None).await?.into_model()?;
    /// println!("{} is looked after by {:?}", module.id, module.managed_by);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "GetModuleAsync")]
    pub async fn get_module(&self, id: &ModuleId, options: Option<GetModuleOptions<'_>>) -> Result<Response<Module>> {
        let options = options.unwrap_or_default();
        let request = self.hub.request(Method::Get, &path(id))?;
        let response = self.hub.send(&options.method_options.context, request).await?;
        Ok(response.into())
    }

    /// Reads one module identity, or `None` if there is no such module, or no such device.
    ///
    /// # Errors
    ///
    /// As [`get_module`](Self::get_module), except for what is missing.
    pub async fn try_get_module(
        &self,
        id: &ModuleId,
        options: Option<GetModuleOptions<'_>>,
    ) -> Result<Option<Response<Module>>> {
        match self.get_module(id, options).await {
            Ok(response) => Ok(Some(response)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the identities of all modules of a device, in one answer.
    ///
    /// Those of an edge device begin with `$edgeAgent` and `$edgeHub`, which have no keys.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::DeviceNotFound`] if there is no such device.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// for module in registry.list_modules(&"lamp".parse()?, None).await?.into_model()? {
    ///     println!("{}", module.id.module());
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "GetModulesOnDeviceAsync")]
    #[doc(alias = "getModulesOnDevice")]
    pub async fn list_modules(
        &self,
        device: &DeviceId,
        options: Option<ListModulesOptions<'_>>,
    ) -> Result<Response<Vec<Module>>> {
        let options = options.unwrap_or_default();
        let request = self
            .hub
            .request(Method::Get, &["devices", device.as_str(), "modules"])?;
        let response = self.hub.send(&options.method_options.context, request).await?;
        Ok(response.into())
    }

    /// Replaces a module identity.
    ///
    /// The record is replaced as a whole, so that [`managed_by`](Module::managed_by) is cleared where it is left out.
    /// Without other options it takes place only if nobody else has written in between. An identity with
    /// [`Authentication::GeneratedKeys`](iothub_core::models::Authentication::GeneratedKeys) gets new keys.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::PreconditionFailed`] if somebody else was faster: read again and decide again.
    /// [`HubErrorCode::ModuleNotFound`] if there is no such module. Without a request, if the identity has no tag and the
    /// options say nothing about it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_core::ModuleId;
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let dimmer = ModuleId::new("lamp".parse()?, "dimmer")?;
    /// let mut module = registry.get_module(&dimmer, None).await?.into_model()?;
    /// module.managed_by = Some("lighting".to_owned());
    /// registry.update_module(&module, None).await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "UpdateModuleAsync")]
    pub async fn update_module(
        &self,
        module: &Module,
        options: Option<UpdateModuleOptions<'_>>,
    ) -> Result<Response<Module>> {
        let options = options.unwrap_or_default();
        let as_read = || module.etag.clone().map(IfMatch::Tag);
        let condition = options.if_match.or_else(as_read).ok_or_else(|| untagged(module))?;
        let request = self
            .hub
            .request(Method::Put, &path(&module.id))?
            .if_match(&condition)?
            .json(module)?;
        let response = self.hub.send(&options.method_options.context, request).await?;
        Ok(response.into())
    }

    /// Reads a module identity, has it changed, and writes it if nobody else has written in between; otherwise it begins
    /// again.
    ///
    /// If `change` changes nothing, nothing is written. It is called once for each round, with what is stored then. See
    /// [`modify_device`](Self::modify_device) for when it gives up.
    ///
    /// # Errors
    ///
    /// As [`get_module`](Self::get_module) and [`update_module`](Self::update_module). Without a write, if `change`
    /// makes it another module.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_core::ModuleId;
    /// use iothub_registry::models::Authentication;
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let dimmer = ModuleId::new("lamp".parse()?, "dimmer")?;
    /// registry.modify_module(&dimmer, |module| module.authentication = Authentication::GeneratedKeys, None).await?;
    /// # Ok(()) }
    /// ```
    pub async fn modify_module(
        &self,
        id: &ModuleId,
        mut change: impl FnMut(&mut Module),
        options: Option<ModifyModuleOptions<'_>>,
    ) -> Result<Module> {
        let ModifyModuleOptions { rounds, method_options } = options.unwrap_or_default();
        let mut rounds = race::rounds(rounds);
        loop {
            let read = GetModuleOptions {
                method_options: method_options.clone(),
            };
            let stored = self.get_module(id, Some(read)).await?.into_model()?;
            let mut module = stored.clone();
            change(&mut module);
            module.etag.clone_from(&stored.etag);
            if module == stored {
                return Ok(stored);
            }
            if module.id != *id {
                return Err(race::renamed("module", id, &module.id));
            }
            let write = UpdateModuleOptions {
                if_match: None,
                method_options: method_options.clone(),
            };
            match self.update_module(&module, Some(write)).await {
                Err(error) if race::lost(&error) && rounds.next().is_some() => {}
                outcome => return outcome?.into_model(),
            }
        }
    }

    /// Deletes a module identity, and its twin with it.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::ModuleNotFound`] if there is no such module, possibly because an earlier try of this call has
    /// deleted it: then [`CallFacts::maybe_applied`](iothub_core::CallFacts::maybe_applied) is true.
    /// [`HubErrorCode::PreconditionFailed`] if the options name another version than the hub's.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_core::ModuleId;
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// registry.delete_module(&ModuleId::new("lamp".parse()?, "dimmer")?, None).await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "RemoveModuleAsync")]
    #[doc(alias = "removeModule")]
    pub async fn delete_module(&self, id: &ModuleId, options: Option<DeleteModuleOptions<'_>>) -> Result<()> {
        let options = options.unwrap_or_default();
        // The hub refuses a delete without a condition.
        let condition = options.if_match.unwrap_or(IfMatch::Any);
        let request = self.hub.request(Method::Delete, &path(id))?.if_match(&condition)?;
        self.hub.send(&options.method_options.context, request).await?;
        Ok(())
    }
}

fn path(id: &ModuleId) -> [&str; 4] {
    ["devices", id.device().as_str(), "modules", id.module()]
}

fn is_missing(error: &Error) -> bool {
    HubError::of(error)
        .is_some_and(|hub| matches!(hub.code, HubErrorCode::ModuleNotFound | HubErrorCode::DeviceNotFound))
}

fn untagged(module: &Module) -> Error {
    Error::with_message_fn(ErrorKind::DataConversion, || {
        format!(
            "the identity of module `{}` has no etag: read it from the hub first, or overwrite whatever is there with \
             IfMatch::Any",
            module.id
        )
    })
}

#[cfg(test)]
mod tests {
    use azure_core::http::StatusCode;
    use iothub_core::testing::{HttpAnswer, ScriptedHttp};

    use super::*;
    use crate::scripted::{body, code, refusal, registry};

    #[tokio::test]
    async fn both_names_are_escaped() -> Result<()> {
        let id = ModuleId::new("a%b?c".parse()?, "$edge#1")?;
        let http = ScriptedHttp::answering(StatusCode::Ok, r#"{"deviceId":"a%b?c","moduleId":"$edge#1"}"#);
        let module = registry(&http).get_module(&id, None).await?.into_model()?;
        assert_eq!(module.id, id);
        assert_eq!(
            http.seen(),
            ["GET /devices/a%25b%3Fc/modules/%24edge%231?api-version=2021-04-12"]
        );
        Ok(())
    }

    #[tokio::test]
    async fn create_module_sends_who_manages_it_and_no_condition() -> Result<()> {
        let http = ScriptedHttp::answering(StatusCode::Created, ANSWER);
        let module = Module::new(dimmer()).with_managed_by("lighting");
        let created = registry(&http).create_module(&module, None).await?.into_model()?;

        assert_eq!(created.etag, Some("MQ==".into()));
        assert_eq!(http.seen(), ["PUT /devices/lamp/modules/dimmer?api-version=2021-04-12"]);
        assert_eq!(http.requests()[0].header("if-match"), None);
        let sent = body(&http, 0);
        assert_eq!(
            (&sent["deviceId"], &sent["moduleId"], &sent["managedBy"]),
            (&"lamp".into(), &"dimmer".into(), &"lighting".into())
        );
        Ok(())
    }

    #[tokio::test]
    async fn try_get_module_is_none_for_a_missing_module_or_device_only() -> Result<()> {
        let http = ScriptedHttp::new([
            refusal(StatusCode::NotFound, "ModuleNotFound"),
            refusal(StatusCode::NotFound, "DeviceNotFound"),
            refusal(StatusCode::NotFound, "IotHubFailingOver"),
        ]);
        let registry = registry(&http);
        assert!(registry.try_get_module(&dimmer(), None).await?.is_none());
        assert!(registry.try_get_module(&dimmer(), None).await?.is_none());
        let error = registry.try_get_module(&dimmer(), None).await.unwrap_err();
        assert_eq!(code(&error), Some(&HubErrorCode::IotHubFailingOver));
        Ok(())
    }

    #[tokio::test]
    async fn list_modules_reads_those_without_keys_too() -> Result<()> {
        let answer = r#"[{"deviceId":"hall","moduleId":"$edgeAgent","managedBy":"iotEdge",
            "authentication":{"symmetricKey":{"primaryKey":null,"secondaryKey":null},"type":"none"}}]"#;
        let http = ScriptedHttp::answering(StatusCode::Ok, answer);
        let modules = registry(&http)
            .list_modules(&"hall".parse()?, None)
            .await?
            .into_model()?;
        assert_eq!(modules.len(), 1);
        assert_eq!(modules[0].authentication, iothub_core::models::Authentication::None);
        assert_eq!(http.seen(), ["GET /devices/hall/modules?api-version=2021-04-12"]);
        Ok(())
    }

    #[tokio::test]
    async fn writes_have_the_condition_that_was_asked_for() -> Result<()> {
        let http = ScriptedHttp::always(HttpAnswer::new(StatusCode::Ok, ANSWER));
        let registry = registry(&http);
        let read = registry.get_module(&dimmer(), None).await?.into_model()?;
        let any = UpdateModuleOptions {
            if_match: Some(IfMatch::Any),
            ..UpdateModuleOptions::default()
        };
        let tag = DeleteModuleOptions {
            if_match: Some(IfMatch::Tag("Mg==".into())),
            ..DeleteModuleOptions::default()
        };
        registry.update_module(&read, None).await?;
        registry.update_module(&read, Some(any)).await?;
        registry.delete_module(&dimmer(), None).await?;
        registry.delete_module(&dimmer(), Some(tag)).await?;
        let error = registry
            .update_module(&Module::new(dimmer()), None)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("module `lamp/dimmer` has no etag"), "{error}");

        let requests = http.requests();
        let conditions: Vec<_> = requests.iter().map(|seen| seen.header("if-match")).collect();
        assert_eq!(
            conditions,
            [None, Some("\"MQ==\""), Some("*"), Some("*"), Some("\"Mg==\"")]
        );
        Ok(())
    }

    fn dimmer() -> ModuleId {
        ModuleId::new("lamp".parse().unwrap(), "dimmer").unwrap()
    }

    const ANSWER: &str = r#"{"deviceId":"lamp","moduleId":"dimmer","etag":"MQ=="}"#;
}
