// The collector in a resource group of its own: hubs, function app, tables, telemetry, and what connects a gateway.
// docs/getting-started.md goes through it; tests/infra/ compares it with the code. Environments fit side by side: every
// name is made from the subscription, the environment's name and the location.
targetScope = 'subscription'

@minLength(1)
@maxLength(64)
@description('Name of the azd environment; it becomes part of every name.')
param environmentName string

@minLength(1)
@description('Region of all resources. It has to offer Flex Consumption.')
@metadata({
  azd: {
    type: 'location'
  }
})
param location string

@description('Name of the resource group; empty: made from the environment.')
param resourceGroupName string = ''

@description('Reach storage and hubs through private endpoints only; of the hubs\' public address remains what Azure Monitor sends.')
param privateNetwork bool = false

@description('With privateNetwork: public addresses or ranges, divided by commas, from which a gateway that is in no network may send to the hubs.')
param gatewayAddresses string = ''

@description('Redundancy of both storage accounts: Standard_LRS where the region has no availability zones.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS', 'Standard_RAGRS', 'Standard_RAGZRS'])
param storageSku string = 'Standard_ZRS'

@minValue(1)
@maxValue(32)
@description('Partitions of each hub. The Standard tier cannot change them later; docs/scale.md says how many.')
param hubPartitions int = 4

@minValue(1)
@maxValue(7)
@description('Days that the hubs keep events: what can be read again, and how long counting may stand still.')
param hubRetentionDays int = 7

@minValue(1)
@maxValue(40)
@description('Throughput units of the namespace. Each deployment sets them to this number, whatever they have inflated to.')
param throughputUnits int = 1

@minValue(1)
@maxValue(40)
@description('Throughput units that the namespace may inflate to; no more than throughputUnits: it never inflates.')
param maximumThroughputUnits int = 10

@allowed(['3.11', '3.12', '3.13'])
param pythonVersion string = '3.12'

@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@minValue(40)
@maxValue(1000)
param maximumInstances int = 40

@description('App settings that differ from the defaults of docs/configuration.md, by name.')
param appSettings object = {}

@description('Client id of the app registration with which callers sign in (docs/security.md); empty: function keys.')
param entraClientId string = ''

@description('Who is told when an alert fires; empty: alerts are only shown in the portal.')
param alertEmail string = ''

@allowed(['none', 'llm', 'llm-and-gateway'])
@description('Logs of the gateway that are counted (mode B). Azure Monitor can only send them with a key, so any but none leaves local authentication of the namespace on.')
param gatewayLogs string = 'none'

@description('Make a new API Management service.')
param createApiManagement bool = false

@description('Name of the API Management service: of the new one, or of one that is there and has a system-assigned identity; empty with createApiManagement: made from the environment; empty without: none is connected. A gateway serves one environment; it refuses a second.')
param apiManagementName string = ''

@description('Resource group of the API Management service that is there; empty: the resource group of the collector.')
param apiManagementResourceGroup string = ''

@allowed(['Developer', 'BasicV2', 'StandardV2', 'Premium'])
param apiManagementSku string = 'BasicV2'

@description('Needed for a new API Management service.')
param apiManagementPublisherEmail string = ''
param apiManagementPublisherName string = 'LLM gateway'

@description('Name of an API whose calls are counted; empty: only the logger and the policy fragments are put into the gateway.')
param apiName string = ''

@allowed(['none', 'mode-a', 'mode-b', 'mode-c'])
@description('Example of policies/examples that becomes the whole policy of that API. none: its policy is left as it is.')
param apiPolicy string = 'none'

@description('Audience of the tokens that the example accepts; needed with apiPolicy.')
param entraAudience string = ''

var abbrs = loadJsonContent('./abbreviations.json')
var resourceToken = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var functionAppName = '${abbrs.webSitesFunctions}${resourceToken}'
var deploymentContainer = 'app-package-${resourceToken}'
var connectsGateway = createApiManagement || !empty(apiManagementName)
var gatewayName = !empty(apiManagementName) ? apiManagementName : '${abbrs.apiManagementService}${resourceToken}'
var countsGatewayLogs = gatewayLogs != 'none'

// Names that the code, the policies and the local stack know as well.
var usageEventsHub = 'usage-events'
var gatewayLogsHub = 'gateway-logs'
var consumerGroup = 'usage-collector'

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: !empty(resourceGroupName) ? resourceGroupName : '${abbrs.resourcesResourceGroups}${environmentName}'
  location: location
  tags: tags
}

module identity 'br/public:avm/res/managed-identity/user-assigned-identity:0.4.1' = {
  name: 'identity'
  scope: group
  params: {
    name: '${abbrs.managedIdentityUserAssignedIdentities}${resourceToken}'
    location: location
    tags: tags
  }
}

module logAnalytics 'br/public:avm/res/operational-insights/workspace:0.7.0' = {
  name: 'log-analytics'
  scope: group
  params: {
    name: '${abbrs.operationalInsightsWorkspaces}${resourceToken}'
    location: location
    tags: tags
    dataRetention: 30
  }
}

module applicationInsights 'br/public:avm/res/insights/component:0.4.1' = {
  name: 'application-insights'
  scope: group
  params: {
    name: '${abbrs.insightsComponents}${resourceToken}'
    location: location
    tags: tags
    workspaceResourceId: logAnalytics.outputs.resourceId
    disableLocalAuth: true
  }
}

// The host's own account: its checkpoints, its keys, the deployed package.
module hostStorage 'br/public:avm/res/storage/storage-account:0.13.2' = {
  name: 'host-storage'
  scope: group
  params: {
    name: '${abbrs.storageStorageAccounts}host${resourceToken}'
    location: location
    tags: tags
    kind: 'StorageV2'
    skuName: storageSku
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    dnsEndpointType: 'Standard'
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
    networkAcls: {
      defaultAction: privateNetwork ? 'Deny' : 'Allow'
      bypass: 'None'
    }
    blobServices: {
      containers: [
        {
          name: deploymentContainer
        }
      ]
    }
  }
}

// The tables have an account of their own: its limits and its roles are theirs alone. The app makes the tables itself.
module usageStorage 'br/public:avm/res/storage/storage-account:0.13.2' = {
  name: 'usage-storage'
  scope: group
  params: {
    name: '${abbrs.storageStorageAccounts}usage${resourceToken}'
    location: location
    tags: tags
    kind: 'StorageV2'
    skuName: storageSku
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    dnsEndpointType: 'Standard'
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
    networkAcls: {
      defaultAction: privateNetwork ? 'Deny' : 'Allow'
      bypass: 'None'
    }
  }
}

module eventHubs './app/event-hubs.bicep' = {
  name: 'event-hubs'
  scope: group
  params: {
    name: '${abbrs.eventHubNamespaces}${resourceToken}'
    location: location
    tags: tags
    usageEventsHub: usageEventsHub
    gatewayLogsHub: gatewayLogsHub
    consumerGroup: consumerGroup
    partitions: hubPartitions
    retentionDays: hubRetentionDays
    throughputUnits: throughputUnits
    maximumThroughputUnits: maximumThroughputUnits
    receivesFromAzureMonitor: countsGatewayLogs
    privateNetwork: privateNetwork
    gatewayAddresses: empty(gatewayAddresses) ? [] : split(replace(gatewayAddresses, ' ', ''), ',')
  }
}

module network './app/network.bicep' = if (privateNetwork) {
  name: 'network'
  scope: group
  params: {
    name: '${abbrs.networkVirtualNetworks}${resourceToken}'
    location: location
    tags: tags
    hostStorageName: hostStorage.outputs.name
    usageStorageName: usageStorage.outputs.name
    eventHubNamespaceName: eventHubs.outputs.name
  }
}

module roles './app/roles.bicep' = {
  name: 'roles'
  scope: group
  params: {
    principalId: identity.outputs.principalId
    hostStorageName: hostStorage.outputs.name
    usageStorageName: usageStorage.outputs.name
    eventHubNamespaceName: eventHubs.outputs.name
    usageEventsHub: usageEventsHub
    gatewayLogsHub: gatewayLogsHub
    applicationInsightsName: applicationInsights.outputs.name
  }
}

module functionApp './app/function-app.bicep' = {
  name: 'function-app'
  scope: group
  params: {
    name: functionAppName
    planName: '${abbrs.webServerFarms}${resourceToken}'
    location: location
    tags: tags
    identityId: identity.outputs.resourceId
    identityClientId: identity.outputs.clientId
    hostStorageName: hostStorage.outputs.name
    usageStorageName: usageStorage.outputs.name
    deploymentContainer: deploymentContainer
    eventHubNamespaceName: eventHubs.outputs.name
    usageEventsHub: usageEventsHub
    gatewayLogsHub: countsGatewayLogs ? gatewayLogsHub : ''
    consumerGroup: consumerGroup
    applicationInsightsName: applicationInsights.outputs.name
    pythonVersion: pythonVersion
    instanceMemoryMB: instanceMemoryMB
    maximumInstances: maximumInstances
    entraClientId: entraClientId
    appSettings: appSettings
    subnetId: privateNetwork ? network.outputs.appSubnetId : ''
  }
  dependsOn: [
    roles
  ]
}

module monitoring './app/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    location: location
    tags: tags
    applicationInsightsName: applicationInsights.outputs.name
    actionGroupName: '${abbrs.insightsActionGroups}${resourceToken}'
    alertEmail: alertEmail
    joinDeadlineSeconds: contains(appSettings, 'JOIN_DEADLINE_SECONDS') ? int(appSettings.JOIN_DEADLINE_SECONDS) : 3600
  }
}

module apiManagement './app/api-management.bicep' = if (createApiManagement) {
  name: 'api-management'
  scope: group
  params: {
    name: gatewayName
    location: location
    tags: tags
    sku: apiManagementSku
    publisherEmail: apiManagementPublisherEmail
    publisherName: apiManagementPublisherName
  }
}

// From here on one after the other: the claim, the role, and what sends last.
module gatewayClaim './app/gateway-claim.bicep' = if (connectsGateway) {
  name: 'gateway-claim'
  scope: resourceGroup(createApiManagement || empty(apiManagementResourceGroup) ? group.name : apiManagementResourceGroup)
  params: {
    apiManagementName: gatewayName
    eventHubNamespaceName: eventHubs.outputs.name
  }
  dependsOn: [
    apiManagement
  ]
}

module gatewayRole './app/gateway-role.bicep' = if (connectsGateway) {
  name: 'gateway-role'
  scope: group
  params: {
    principalId: connectsGateway ? gatewayClaim.outputs.principalId : ''
    eventHubNamespaceName: eventHubs.outputs.name
    usageEventsHub: usageEventsHub
  }
}

module gateway './app/gateway.bicep' = if (connectsGateway) {
  name: 'gateway'
  scope: resourceGroup(createApiManagement || empty(apiManagementResourceGroup) ? group.name : apiManagementResourceGroup)
  params: {
    apiManagementName: gatewayName
    eventHubNamespaceName: eventHubs.outputs.name
    usageEventsHub: usageEventsHub
    gatewayLogsHub: gatewayLogsHub
    gatewayLogs: gatewayLogs
    azureMonitorRuleId: eventHubs.outputs.azureMonitorRuleId
    apiName: apiName
    apiPolicy: apiPolicy
    entraAudience: entraAudience
  }
  dependsOn: [
    functionApp
    gatewayRole
  ]
}

output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_CLIENT_ID string = identity.outputs.clientId
output SERVICE_API_NAME string = functionApp.outputs.name
output USAGE_URL string = '${functionApp.outputs.url}/api/usage'
output HEALTH_URL string = '${functionApp.outputs.url}/api/health'
output EVENT_HUB_NAMESPACE string = '${eventHubs.outputs.name}.servicebus.windows.net'
output USAGE_TABLES string = functionApp.outputs.usageTables
// What azd did not make and may delete: infra/hooks.py stops `azd down` for it.
output CONNECTED_GATEWAY string = connectsGateway && !createApiManagement
  ? '${empty(apiManagementResourceGroup) ? group.name : apiManagementResourceGroup}/${gatewayName}'
  : ''
// Before it is made it has no API that a policy could go to: infra/hooks.py.
output CREATED_GATEWAY string = createApiManagement ? gatewayName : ''
output NEXT_STEPS string = empty(entraClientId)
  ? 'Key of the query: az functionapp function keys list -g ${group.name} -n ${functionApp.outputs.name} --function-name usage. Then docs/getting-started.md, "Connect a gateway".'
  : 'Token of the query: az account get-access-token --resource api://${entraClientId}. Then docs/getting-started.md, "Connect a gateway".'
