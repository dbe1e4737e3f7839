// A gateway serves one environment: logger, fragments and diagnostic setting have fixed names there, and a second
// environment would turn them to its own hubs unseen. Two named values cannot have one display name, so the gateway
// refuses the claim of the second (400, "Property with the same name already exist"; Azure/apiops #837), before anything
// else of it is touched.
param apiManagementName string
param eventHubNamespaceName string

resource service 'Microsoft.ApiManagement/service@2024-05-01' existing = {
  name: apiManagementName
}

resource claim 'Microsoft.ApiManagement/service/namedValues@2024-05-01' = {
  parent: service
  name: 'usage-collector-${eventHubNamespaceName}'
  properties: {
    displayName: 'usage-collector'
    value: eventHubNamespaceName
  }
}

output principalId string = service.identity.principalId
