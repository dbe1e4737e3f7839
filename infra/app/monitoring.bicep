// Alerts and a workbook on what the app measures: docs/operations.md has the queries with what to do when one fires.
param location string
param tags object
param applicationInsightsName string
param actionGroupName string
param alertEmail string
param joinDeadlineSeconds int

var rules = [
  {
    name: 'counting-is-behind'
    severity: 1
    window: 'PT15M'
    query: loadTextContent('../alerts/counting-is-behind.kql')
  }
  {
    name: 'a-partition-is-not-counted'
    severity: 1
    window: 'PT30M'
    query: loadTextContent('../alerts/a-partition-is-not-counted.kql')
  }
  {
    name: 'a-part-does-not-answer'
    severity: 1
    window: 'PT15M'
    query: loadTextContent('../alerts/a-part-does-not-answer.kql')
  }
  {
    name: 'nothing-is-sent'
    severity: 2
    window: 'PT15M'
    query: loadTextContent('../alerts/nothing-is-sent.kql')
  }
  {
    name: 'nobody-looks'
    severity: 1
    window: 'PT15M'
    query: loadTextContent('../alerts/nobody-looks.kql')
  }
  {
    name: 'batches-fail'
    severity: 1
    window: 'PT15M'
    query: loadTextContent('../alerts/batches-fail.kql')
  }
  {
    name: 'records-are-set-aside'
    severity: 2
    window: 'PT1H'
    query: loadTextContent('../alerts/records-are-set-aside.kql')
  }
  {
    name: 'coverage-falls'
    severity: 2
    window: 'PT1H'
    query: loadTextContent('../alerts/coverage-falls.kql')
  }
  {
    name: 'storage-throttles'
    severity: 2
    window: 'PT15M'
    query: loadTextContent('../alerts/storage-throttles.kql')
  }
  {
    name: 'calls-wait-too-long'
    severity: 2
    window: 'PT15M'
    // The file has the default deadline and ten minutes.
    query: replace(loadTextContent('../alerts/calls-wait-too-long.kql'), '4200', string(joinDeadlineSeconds + 600))
  }
  {
    name: 'records-are-unaccounted'
    severity: 1
    window: 'PT2H'
    query: loadTextContent('../alerts/records-are-unaccounted.kql')
  }
  {
    name: 'alerts-are-raised'
    severity: 3
    window: 'PT15M'
    query: loadTextContent('../alerts/alerts-are-raised.kql')
  }
  {
    name: 'alerts-are-given-up'
    severity: 2
    window: 'PT15M'
    query: loadTextContent('../alerts/alerts-are-given-up.kql')
  }
  {
    name: 'budgets-are-not-evaluated'
    severity: 2
    window: 'PT15M'
    query: loadTextContent('../alerts/budgets-are-not-evaluated.kql')
  }
  {
    name: 'budgets-are-unknown'
    severity: 2
    window: 'PT15M'
    query: loadTextContent('../alerts/budgets-are-unknown.kql')
  }
]

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(alertEmail)) {
  name: actionGroupName
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'llm-usage'
    enabled: true
    emailReceivers: [
      {
        name: 'operators'
        emailAddress: alertEmail
        useCommonAlertSchema: true
      }
    ]
  }
}

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in rules: {
  name: 'usage-collector-${rule.name}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'LLM usage collector: ${replace(rule.name, '-', ' ')}'
    description: 'What to do: docs/operations.md, "Runbook".'
    severity: rule.severity
    enabled: true
    evaluationFrequency: 'PT5M'
    windowSize: rule.window
    scopes: [
      applicationInsights.id
    ]
    criteria: {
      allOf: [
        {
          query: rule.query
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    // The first metrics come after the first deployment of code.
    skipQueryValidation: true
    actions: {
      actionGroups: empty(alertEmail) ? [] : [
        actionGroup.id
      ]
    }
  }
}]

resource workbook 'Microsoft.Insights/workbooks@2022-04-01' = {
  name: guid(applicationInsights.id, 'usage-collector')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'LLM usage collector'
    category: 'workbook'
    sourceId: applicationInsights.id
    serializedData: string(loadJsonContent('../workbook.json'))
  }
}
