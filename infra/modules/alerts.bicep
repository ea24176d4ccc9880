// Alerts on the app's own log lines and metrics. Each query returns rows only when somebody should look.

@description('Resource id of the Application Insights resource that the queries read: in a shared workspace, its lines only.')
param componentsId string

@description('Name of the action group.')
param actionGroupName string

@description('E-mail addresses that are told; with none, alerts show in the portal only.')
param emails array

@description('Azure region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Makes the names of the alerts unique in the group.')
param suffix string

@description('Whether the rules fire; off during the first installation, for instance.')
param enabled bool

var runbooks = loadJsonContent('../runbooks.json')

// `by`: columns of the query of which each value is an alert of its own: a second failure is told while the first
// is not over.
var rules = [
  {
    name: 'silent'
    title: 'Mooring has stopped: its timer has not run'
    severity: 1
    window: 'PT15M'
    query: loadTextContent('../queries/silent.kql')
    by: []
  }
  {
    name: 'poison'
    title: 'A message killed its host five times'
    severity: 2
    window: 'PT15M'
    query: loadTextContent('../queries/poison.kql')
    by: ['queue']
  }
  {
    name: 'step-failed'
    title: 'An operation has failed'
    severity: 2
    window: 'PT15M'
    query: loadTextContent('../queries/step-failed.kql')
    by: ['operation_id']
  }
  {
    name: 'access-denied'
    title: 'The app lacks a right'
    severity: 2
    window: 'PT15M'
    query: loadTextContent('../queries/access-denied.kql')
    by: []
  }
  {
    name: 'unexpected'
    title: 'Code met what it should never meet'
    severity: 2
    window: 'PT15M'
    query: loadTextContent('../queries/unexpected.kql')
    by: ['about']
  }
  {
    name: 'backlog'
    title: 'A queue does not drain'
    severity: 2
    window: 'PT30M'
    query: loadTextContent('../queries/backlog.kql')
    by: ['queue']
  }
  {
    name: 'stuck'
    title: 'Nobody takes what is due'
    severity: 1
    window: 'PT15M'
    query: loadTextContent('../queries/stuck.kql')
    by: []
  }
  {
    name: 'throttled'
    title: 'Azure has asked for patience for long'
    severity: 3
    window: 'PT30M'
    query: loadTextContent('../queries/throttled.kql')
    by: []
  }
  {
    name: 'prune-held'
    title: 'A prune or another removal needs a person'
    severity: 3
    window: 'PT1H'
    query: loadTextContent('../queries/prune-held.kql')
    by: []
  }
  {
    name: 'rejected'
    title: 'Requests or events were refused'
    severity: 3
    window: 'PT1H'
    query: loadTextContent('../queries/rejected.kql')
    by: []
  }
  {
    name: 'outcome-not-told'
    title: 'The outcome topic could not be told'
    severity: 3
    window: 'PT1H'
    query: loadTextContent('../queries/outcome-not-told.kql')
    by: ['code']
  }
  {
    name: 'sweep-old'
    title: 'Sweeps do not come to an end'
    severity: 2
    window: 'PT3H'
    query: loadTextContent('../queries/sweep-old.kql')
    by: []
  }
  {
    name: 'sweep-incomplete'
    title: 'A sweep could not look at everything'
    severity: 2
    window: 'PT3H'
    query: loadTextContent('../queries/sweep-incomplete.kql')
    by: ['detail', 'place']
  }
  {
    name: 'event-lag'
    title: 'Events arrive late'
    severity: 3
    window: 'PT30M'
    query: loadTextContent('../queries/event-lag.kql')
    by: []
  }
  {
    name: 'cluster-unreachable'
    title: 'A cluster gives no answer'
    severity: 2
    window: 'PT1H'
    query: loadTextContent('../queries/cluster-unreachable.kql')
    by: ['cluster']
  }
  {
    name: 'cluster-silent'
    title: 'A cluster gave two sweeps no answer'
    severity: 2
    window: 'PT3H'
    query: loadTextContent('../queries/cluster-silent.kql')
    by: ['cluster']
  }
  {
    name: 'credential-limit'
    title: 'An identity is nearly full of credentials'
    severity: 3
    window: 'PT1H'
    query: loadTextContent('../queries/credential-limit.kql')
    by: []
  }
  {
    name: 'role-assignment-limit'
    title: 'A subscription is nearly full of role assignments'
    severity: 3
    window: 'PT1H'
    query: loadTextContent('../queries/role-assignment-limit.kql')
    by: []
  }
]

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: actionGroupName
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'mooring'
    enabled: true
    emailReceivers: [for (email, i) in emails: {
      name: 'email-${i}'
      emailAddress: email
      useCommonAlertSchema: true
    }]
  }
}

resource alerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in rules: {
  name: 'mooring-${rule.name}-${suffix}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: rule.title
    description: 'What to do: docs/runbooks/${runbooks[rule.name]}.md. Query: infra/queries/${rule.name}.kql'
    severity: rule.severity
    enabled: enabled
    scopes: [componentsId]
    evaluationFrequency: 'PT15M'
    windowSize: rule.window
    autoMitigate: true
    // A new resource has no lines yet, which must not stop the deployment.
    skipQueryValidation: true
    criteria: {
      allOf: [
        {
          query: rule.query
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          dimensions: map(rule.by, column => {
            name: column
            operator: 'Include'
            values: ['*']
          })
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [actionGroup.id]
    }
  }
}]

@description('Resource id of the action group.')
output actionGroupId string = actionGroup.id
