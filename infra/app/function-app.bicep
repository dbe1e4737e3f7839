// The function app on Flex Consumption, with every app setting. Their defaults are those of the code; what differs comes
// in `appSettings`.
param name string
param planName string
param location string
param tags object
param identityId string
param identityClientId string
param hostStorageName string
param usageStorageName string
param deploymentContainer string
param eventHubNamespaceName string
param usageEventsHub string
param gatewayLogsHub string
param consumerGroup string
param applicationInsightsName string
param pythonVersion string
param instanceMemoryMB int
param maximumInstances int
param entraClientId string
param appSettings object
param subnetId string

var signsIn = !empty(entraClientId)

var settings = {
  AzureWebJobsStorage__blobServiceUri: hostStorage.properties.primaryEndpoints.blob
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  EventHubConnection__fullyQualifiedNamespace: '${eventHubNamespaceName}.servicebus.windows.net'
  EventHubConnection__credential: 'managedidentity'
  EventHubConnection__clientId: identityClientId
  USAGE_EVENTS_HUB: usageEventsHub
  GATEWAY_LOGS_HUB: gatewayLogsHub
  CONSUMER_GROUP: consumerGroup
  UsageStorage__tableServiceUri: usageTables
  UsageStorage__clientId: identityClientId
  AZURE_CLIENT_ID: identityClientId
  AUTHENTICATION: signsIn ? 'app_service' : 'function_key'
  APPLICATIONINSIGHTS_CONNECTION_STRING: applicationInsights.properties.ConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY: ''
  METRICS_BY_APP: '0'
  TABLE_PREFIX: ''
  AGGREGATE_DIMENSIONS: 'deployment,operation,product'
  JOIN_DEADLINE_SECONDS: '3600'
  ESTIMATE_USAGE: '0'
  DEAD_LETTER_PAYLOADS: 'redacted'
  CALL_RETENTION_DAYS: '90'
  COMMIT_CONCURRENCY: '16'
  CACHE_ROWS: '20000'
  APP_PARTITIONS: ''
  QUERY_CONCURRENCY: '32'
  QUERY_MAX_ROWS: '50000'
  QUERY_MAX_ENTITIES: '1000000'
  QUERY_MAX_DAYS: '800'
  QUERY_MAX_CALLS: '100000'
  QUERY_MAX_CALL_DAYS: '32'
  QUERY_MAX_REQUESTS: '50000'
  QUERY_MAX_SECONDS: '60'
  PRICE_PROVIDERS: 'azure,aws,google,mistral,cohere,voyageai,perplexity'
  FOCUS_PROVIDER_NAME: 'LLM gateway'
  ALERT_WEBHOOK: ''
  ALERT_WEBHOOK_FORMAT: 'cloudevents'
  ALERT_WEBHOOK_SECRET: ''
  ALERT_WEBHOOK_ALLOW_PRIVATE: '0'
  ALERT_RETENTION_DAYS: '400'
  ANOMALY_ALERTS: '1'
  ANOMALY_FLOOR_TOKENS: '100000'
  ANOMALY_COOLDOWN_HOURS: '24'
}

// The service's address without its last slash: the setting takes none.
var usageTables = take(usageStorage.properties.primaryEndpoints.table, length(usageStorage.properties.primaryEndpoints.table) - 1)

resource hostStorage 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: hostStorageName
}

resource usageStorage 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: usageStorageName
}

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'api' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    // Without it Key Vault is asked with a system-assigned identity, which this app has not.
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      minTlsVersion: '1.2'
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${hostStorage.properties.primaryEndpoints.blob}${deploymentContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: pythonVersion
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstances
      }
    }
  }

  resource configuration 'config' = {
    name: 'appsettings'
    properties: union(settings, appSettings)
  }

  // Deployment by password is off: azd and the workflow deploy with tokens.
  resource ftp 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: {
      allow: false
    }
  }

  resource scm 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: {
      allow: false
    }
  }
}

// Sign-in before any question (docs/security.md); the liveness probe alone needs none.
resource signIn 'Microsoft.Web/sites/config@2024-04-01' = if (signsIn) {
  parent: app
  name: 'authsettingsV2'
  properties: {
    platform: {
      enabled: true
    }
    globalValidation: {
      requireAuthentication: true
      unauthenticatedClientAction: 'Return401'
      excludedPaths: [
        '/api/health'
      ]
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: entraClientId
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
        }
        validation: {
          // Tokens of version 2 carry the id alone.
          allowedAudiences: [
            entraClientId
            'api://${entraClientId}'
          ]
        }
      }
    }
    login: {
      tokenStore: {
        enabled: false
      }
    }
  }
}

output name string = app.name
output url string = 'https://${app.properties.defaultHostName}'
output usageTables string = usageTables
