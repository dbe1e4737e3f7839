// The namespace with its two hubs. Nobody has a key for it, but for Azure Monitor where it sends the gateway's logs.
param name string
param location string
param tags object
param usageEventsHub string
param gatewayLogsHub string
param consumerGroup string
param partitions int
param retentionDays int
param throughputUnits int
param maximumThroughputUnits int
param receivesFromAzureMonitor bool
param privateNetwork bool
param gatewayAddresses array

// The service wants the maximum above what is there (Azure/bicep #7900, MicrosoftDocs/azure-docs-cli #4411).
var inflates = maximumThroughputUnits > throughputUnits

// `defaultAction: 'Deny'` shuts out nobody while there is no rule beside it (learn.microsoft.com, "Allow access to Azure
// Event Hubs namespaces from specific virtual networks"), so without addresses the public endpoint is off altogether.
var publicAccess = privateNetwork && empty(gatewayAddresses) ? 'Disabled' : 'Enabled'

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: 'Standard'
    tier: 'Standard'
    capacity: throughputUnits
  }
  properties: {
    // Diagnostic settings send with a shared access policy and know no identity (MicrosoftDocs/azure-docs #119932), so
    // with them local authentication has to stay on.
    disableLocalAuth: !receivesFromAzureMonitor
    isAutoInflateEnabled: inflates
    maximumThroughputUnits: inflates ? maximumThroughputUnits : 0
    minimumTlsVersion: '1.2'
    publicNetworkAccess: publicAccess
  }
}

// Azure Monitor sends as a trusted service, also past a public endpoint that is off. A gateway does not: that was retired in
// March 2026 (learn.microsoft.com, "Trusted service connectivity retirement").
resource networkRules 'Microsoft.EventHub/namespaces/networkRuleSets@2024-01-01' = {
  parent: namespace
  name: 'default'
  properties: {
    publicNetworkAccess: publicAccess
    defaultAction: privateNetwork ? 'Deny' : 'Allow'
    trustedServiceAccessEnabled: true
    ipRules: [for address in (privateNetwork ? gatewayAddresses : []): {
      ipMask: address
      action: 'Allow'
    }]
    virtualNetworkRules: []
  }
}

@batchSize(1)
resource hubs 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' = [for hub in [usageEventsHub, gatewayLogsHub]: {
  parent: namespace
  name: hub
  properties: {
    partitionCount: partitions
    messageRetentionInDays: retentionDays
  }
}]

@batchSize(1)
resource groups 'Microsoft.EventHub/namespaces/eventhubs/consumergroups@2024-01-01' = [for (hub, index) in [usageEventsHub, gatewayLogsHub]: {
  parent: hubs[index]
  name: consumerGroup
}]

// The only policy that is made here, and nothing reads its keys. Azure Monitor asks for these three rights.
resource azureMonitor 'Microsoft.EventHub/namespaces/authorizationRules@2024-01-01' = if (receivesFromAzureMonitor) {
  parent: namespace
  name: 'azure-monitor'
  properties: {
    rights: [
      'Listen'
      'Manage'
      'Send'
    ]
  }
}

output name string = namespace.name
output azureMonitorRuleId string = receivesFromAzureMonitor ? azureMonitor.id : ''
