// What connects a gateway: the logger, the policy fragments, an API's policy, and the logs of mode B (docs/capture.md).
param apiManagementName string
param eventHubNamespaceName string
param usageEventsHub string
param gatewayLogsHub string
param gatewayLogs string
param azureMonitorRuleId string
param apiName string
param apiPolicy string
param entraAudience string

var fragments = [
  {
    name: 'usage-buffered'
    value: loadTextContent('../../policies/fragments/usage-buffered.xml')
  }
  {
    name: 'usage-gateway-log'
    value: loadTextContent('../../policies/fragments/usage-gateway-log.xml')
  }
  {
    name: 'usage-identity'
    value: loadTextContent('../../policies/fragments/usage-identity.xml')
  }
  {
    name: 'usage-include'
    value: loadTextContent('../../policies/fragments/usage-include.xml')
  }
  {
    name: 'usage-json'
    value: loadTextContent('../../policies/fragments/usage-json.xml')
  }
  {
    name: 'usage-request'
    value: loadTextContent('../../policies/fragments/usage-request.xml')
  }
  {
    name: 'usage-send'
    value: loadTextContent('../../policies/fragments/usage-send.xml')
  }
]

var examples = {
  none: ''
  'mode-a': loadTextContent('../../policies/examples/mode-a.xml')
  'mode-b': loadTextContent('../../policies/examples/mode-b.xml')
  'mode-c': loadTextContent('../../policies/examples/mode-c.xml')
}

// What the examples name stands in this API's policy itself: a named value would be one for all APIs of the gateway.
var audience = replace(replace(entraAudience, '&', '&amp;'), '<', '&lt;')
var policyXml = replace(replace(examples[apiPolicy], '{{entra-tenant-id}}', tenant().tenantId), '{{entra-audience}}', audience)

var setsPolicy = !empty(apiName) && apiPolicy != 'none'
var countsLogs = gatewayLogs != 'none'
var categories = gatewayLogs == 'llm-and-gateway' ? ['GatewayLlmLogs', 'GatewayLogs'] : ['GatewayLlmLogs']

resource service 'Microsoft.ApiManagement/service@2024-05-01' existing = {
  name: apiManagementName
}

// With the gateway's own identity, so without a key.
resource logger 'Microsoft.ApiManagement/service/loggers@2024-05-01' = {
  parent: service
  name: 'usage-events'
  properties: {
    loggerType: 'azureEventHub'
    credentials: {
      name: usageEventsHub
      endpointAddress: '${eventHubNamespaceName}.servicebus.windows.net'
      identityClientId: 'systemAssigned'
    }
  }
}

resource policyFragments 'Microsoft.ApiManagement/service/policyFragments@2024-05-01' = [for fragment in fragments: {
  parent: service
  name: fragment.name
  properties: {
    format: 'xml'
    value: fragment.value
  }
  dependsOn: [
    logger
  ]
}]

resource api 'Microsoft.ApiManagement/service/apis@2024-05-01' existing = if (!empty(apiName)) {
  parent: service
  name: !empty(apiName) ? apiName : 'none'
}

resource policy 'Microsoft.ApiManagement/service/apis/policies@2024-05-01' = if (setsPolicy) {
  parent: api
  name: 'policy'
  properties: {
    format: 'xml'
    value: policyXml
  }
  dependsOn: [
    policyFragments
  ]
}

// Not in every service from the start. A diagnostic names it by its id.
resource azureMonitor 'Microsoft.ApiManagement/service/loggers@2024-05-01' = if (countsLogs && !empty(apiName)) {
  parent: service
  name: 'azuremonitor'
  properties: {
    loggerType: 'azureMonitor'
    isBuffered: true
  }
}

// The gateway's log of model calls, without messages: of this API, all calls. Replaces the API's own if it has one.
resource llmLog 'Microsoft.ApiManagement/service/apis/diagnostics@2024-06-01-preview' = if (countsLogs && !empty(apiName)) {
  parent: api
  name: 'azuremonitor'
  properties: {
    loggerId: azureMonitor.id
    sampling: {
      samplingType: 'fixed'
      percentage: 100
    }
    largeLanguageModel: {
      logs: 'enabled'
    }
  }
}

resource toHub 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (countsLogs) {
  scope: service
  name: 'llm-usage'
  properties: {
    eventHubAuthorizationRuleId: azureMonitorRuleId
    eventHubName: gatewayLogsHub
    logs: [for category in categories: {
      category: category
      enabled: true
    }]
  }
}
