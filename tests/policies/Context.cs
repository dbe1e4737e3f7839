// The `context` of policy expressions as far as the policies use it, with the members that the page "API Management policy
// expressions" documents and no others, and the policies around it. A case says what each member holds; "throws" names
// members that throw when they are read. One JSON case a line in, one JSON outcome a line out, until the input ends.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using System.Threading;
using Newtonsoft.Json;
using Newtonsoft.Json.Linq;

public class Named { public string Id; public string Name; }
public class Deployment { public string GatewayId; public string ServiceName; public string Region; }
public class LastError { public string Source; public string Reason; public string Message; public string Section; }
public class Jwt { public IReadOnlyDictionary<string, string[]> Claims; }

public class Url
{
    public string Path;
    public IReadOnlyDictionary<string, string[]> Query;
}

public class Body
{
    public string Text;
    public bool Throws;
    public int Reads;
    public bool Lost;

    public T As<T>(bool preserveContent = false)
    {
        Reads++;
        if (Lost) throw new InvalidOperationException("the body was read without preserveContent");
        if (!preserveContent) Lost = true;
        if (Throws) throw new InvalidOperationException("the body cannot be read");
        return (T)(object)Text;
    }
}

public class Request
{
    public Context Context;
    public Body Content;
    public string HttpMethod;
    public Url Asked;
    public string Ip;
    public Dictionary<string, string[]> Received;

    public Body Body { get { return Context.Read("Request.Body", Content); } }
    public string Method { get { return Context.Read("Request.Method", HttpMethod); } }
    public Url Sent;
    public Url Url { get { return Context.Read("Request.Url", Sent ?? Asked); } }
    public Url OriginalUrl { get { return Context.Read("Request.OriginalUrl", Asked); } }
    public string IpAddress { get { return Context.Read("Request.IpAddress", Ip); } }
    public IReadOnlyDictionary<string, string[]> Headers { get { return Context.Read("Request.Headers", Received); } }
}

public interface IResponse { Body Body { get; } int StatusCode { get; } }

public class Response : IResponse
{
    public Context Context;
    public Body Content;
    public int Status;
    public Dictionary<string, string[]> Received;

    public Body Body { get { return Context.Read("Response.Body", Content); } }
    public int StatusCode { get { return Context.Read("Response.StatusCode", Status); } }
    public IReadOnlyDictionary<string, string[]> Headers { get { return Context.Read("Response.Headers", Received); } }
}

public class Context
{
    public HashSet<string> Throws;
    public JObject Case;
    public Dictionary<string, object> Set = new Dictionary<string, object>();
    public Request Asked;
    public Response Answered;
    public LastError Failed;

    public T Read<T>(string member, T value)
    {
        if (Throws.Contains(member)) throw new InvalidOperationException(member + " cannot be read");
        return value;
    }

    public Guid RequestId { get { return Guid.Parse((string)Case["request_id"]); } }
    public DateTime Timestamp { get { return Read("Timestamp", Time()); } }
    public TimeSpan Elapsed { get { return Read("Elapsed", TimeSpan.FromMilliseconds((double)Case["elapsed_ms"])); } }
    public IReadOnlyDictionary<string, object> Variables { get { return Set; } }
    public Named Api { get { return Read("Api", Case["api"].ToObject<Named>()); } }
    public Named Operation { get { return Read("Operation", Case["operation"].ToObject<Named>()); } }
    public Named Product { get { return Read("Product", Case["product"].ToObject<Named>()); } }
    public Named Subscription { get { return Read("Subscription", Case["subscription"].ToObject<Named>()); } }
    public Named User { get { return Read("User", Case["user"].ToObject<Named>()); } }
    public Deployment Deployment { get { return Read("Deployment", Case["deployment"].ToObject<Deployment>()); } }
    public Request Request { get { return Asked; } }
    public Response Response { get { return Read("Response", Answered); } }
    public LastError LastError { get { return Read("LastError", Failed); } }

    private DateTime Time()
    {
        var kind = (DateTimeKind)Enum.Parse(typeof(DateTimeKind), (string)Case["timestamp_kind"]);
        return new DateTime((long)Case["timestamp_ticks"], kind);
    }
}

public static class Documented
{
    // Headers, Query and Jwt.Claims: all values of the name with commas between them, or the default.
    public static string GetValueOrDefault(
        this IReadOnlyDictionary<string, string[]> values, string name, string otherwise)
    {
        string[] found;
        return values.TryGetValue(name, out found) ? string.Join(",", found) : otherwise;
    }
}

// One call through a policy document: what its elements do, in the order in which the gateway runs them.
public class Gateway
{
    public Context Context;
    public JArray Sent = new JArray();
    public bool BodySet;
    public JArray Requests = new JArray();
    public JObject Stored = new JObject();
    public JObject ReturnedHeaders = new JObject();
    public JObject Returned;

    // What return-response does to the rest of the policies.
    private class End : Exception { }

    public Gateway(JObject call)
    {
        Context = new Context { Case = call, Throws = new HashSet<string>(call["throws"].ToObject<string[]>()) };
        Context.Asked = new Request {
            Context = Context, HttpMethod = (string)call["method"], Ip = (string)call["ip"],
            Content = BodyOf(call["request_body"]), Received = Values(call["request_headers"]),
            Asked = call["path"].Type == JTokenType.Null ? null
                : new Url { Path = (string)call["path"], Query = Values(call["query"]) },
            Sent = call["rewritten"].Type == JTokenType.Null ? null
                : new Url { Path = (string)call["rewritten"], Query = Values(call["query"]) } };
        foreach (var variable in ((JObject)call["variables"]).Properties())
            Context.Set[variable.Name] = ((JValue)variable.Value).Value;
    }

    private Body BodyOf(JToken text)
    {
        if (text.Type == JTokenType.Null) return null;
        return new Body { Text = (string)text, Throws = (bool)Context.Case["unreadable"] };
    }

    private static Dictionary<string, string[]> Values(JToken pairs)
    {
        var values = new Dictionary<string, string[]>(StringComparer.OrdinalIgnoreCase);
        foreach (var pair in ((JObject)pairs).Properties()) values[pair.Name] = new[] { (string)pair.Value };
        return values;
    }

    // --- the policies --------------------------------------------------------------------------------------------

    public void SetVariable(string name, object value)
    {
        if (!(value is string || value is bool)) throw new InvalidOperationException(name + " is not of a basic type");
        Context.Set[name] = value;
    }

    public void SetBody(string text)
    {
        BodySet = true;
        Context.Asked.Content.Text = text;
    }

    public void DeleteHeader(string name) { Context.Asked.Received.Remove(name); }

    public void ValidateToken(string variable)
    {
        if (Context.Case["claims"].Type != JTokenType.Null)
            Context.Set[variable] = new Jwt { Claims = Values(Context.Case["claims"]) };
    }

    public void Log(string logger, string key, string message)
    {
        Sent.Add(new JObject(
            new JProperty("logger", logger), new JProperty("key", key),
            new JProperty("message", Convert.ToBase64String(Encoding.UTF8.GetBytes(message)))));
    }

    // A text in which named values stand, as the gateway puts them in before anything runs.
    public string Named(string text)
    {
        foreach (var named in ((JObject)Context.Case["named_values"]).Properties())
            text = text.Replace("{{" + named.Name + "}}", (string)named.Value);
        return text;
    }

    public void LookUp(string key, string variable, string otherwise)
    {
        Context.Set[variable] = (string)Context.Case["cache"][key] ?? otherwise;
    }

    public void Store(string key, string value, int seconds) { Stored[key] = new JArray(value, seconds); }

    public void Send(string url, string method, string resource, int seconds, string variable)
    {
        Requests.Add(new JObject(
            new JProperty("url", url), new JProperty("method", method), new JProperty("resource", resource),
            new JProperty("timeout", seconds)));
        var answer = Context.Case["answered"] as JObject;
        Context.Set[variable] = answer == null ? null : new Response {
            Context = Context, Status = (int)answer["status"], Content = BodyOf(answer["body"]),
            Received = Values(answer["headers"]) };
    }

    public void ReturnHeader(string name, string value) { ReturnedHeaders[name] = value; }

    public void Return(int status, string body)
    {
        Returned = new JObject(
            new JProperty("status", status), new JProperty("headers", ReturnedHeaders), new JProperty("body", body));
        throw new End();
    }

    // --- the run -------------------------------------------------------------------------------------------------

    public JObject Run()
    {
        var call = Context.Case;
        var policy = (string)call["policy"];
        var error = (JObject)(call["error"] as JObject);
        var section = error == null ? "" : (string)error["Section"];
        string fault = null;
        try {
            if (section != "inbound") Policies.Sections[policy + "/inbound"](this);
            var answer = call["response"] as JObject;
            if (answer != null) Context.Answered = new Response {
                Context = Context, Status = (int)answer["status"], Content = BodyOf(answer["body"]),
                Received = Values(answer["headers"]) };
            if (section == "" || section == "outbound") Policies.Sections[policy + "/outbound"](this);
            if (section != "") {
                Context.Failed = error.ToObject<LastError>();
                Policies.Sections[policy + "/on-error"](this);
            }
        } catch (End) {
        } catch (Exception thrown) {
            fault = thrown.ToString();
        }
        var asked = Context.Asked.Content;
        var answered = Context.Answered == null ? null : Context.Answered.Content;
        return new JObject(
            new JProperty("fault", fault), new JProperty("sent", Sent), new JProperty("body_set", BodySet),
            new JProperty("request_body", asked == null ? null : asked.Text),
            new JProperty("response_reads", answered == null ? 0 : answered.Reads),
            new JProperty("lost", (asked != null && asked.Lost) || (answered != null && answered.Lost)),
            new JProperty("headers", new JArray(Context.Asked.Received.Keys)),
            new JProperty("requests", Requests), new JProperty("stored", Stored), new JProperty("returned", Returned));
    }

    // A gateway runs expressions on threads with less room than a program's first one: recursion has to show here.
    public static void Main()
    {
        var thread = new Thread(Serve, 256 * 1024);
        thread.Start();
        thread.Join();
    }

    private static void Serve()
    {
        var input = new StreamReader(Console.OpenStandardInput(), new UTF8Encoding(false));
        var output = new StreamWriter(Console.OpenStandardOutput(), new UTF8Encoding(false));
        var ascii = new JsonSerializerSettings { StringEscapeHandling = StringEscapeHandling.EscapeNonAscii };
        string line;
        while ((line = input.ReadLine()) != null) {
            var reader = new JsonTextReader(new StringReader(line)) { DateParseHandling = DateParseHandling.None };
            output.WriteLine(JsonConvert.SerializeObject(new Gateway(JObject.Load(reader)).Run(), ascii));
            output.Flush();
        }
    }
}
